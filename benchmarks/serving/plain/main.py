# SPDX-License-Identifier: GPL-3.0-or-later
"""The plain way to serve the model: pandas, get_dummies, a pickled forest, predict and predict_proba."""

import io
import os

import flask
import functions_framework
import joblib
import pandas as pd
from google.cloud import storage

DEFAULTS = {"match_minute": 0, "score_diff": 0, "temperature": 20.0, "crowd_density": 0.5, "event": "None"}

bucket = storage.Client().bucket(os.environ["MODEL_BUCKET"])
model = joblib.load(io.BytesIO(bucket.blob("plain.joblib").download_as_bytes()))
columns = joblib.load(io.BytesIO(bucket.blob("plain_columns.joblib").download_as_bytes()))


@functions_framework.http
def recommend_sponsor(request: flask.Request) -> flask.Response:
    """Answer one context or a batch."""
    document = request.get_json()
    rows = document.get("instances", [document])
    frame = pd.DataFrame([{**DEFAULTS, **row} for row in rows])
    features = pd.get_dummies(frame, columns=["zone", "event"]).reindex(columns=columns, fill_value=0)
    names = model.predict(features)
    confidences = model.predict_proba(features).max(axis=1)
    answers = [
        {"recommended_sponsor": name, "confidence": float(confidence), "context_used": row}
        for name, confidence, row in zip(names, confidences, frame.to_dict("records"), strict=True)
    ]
    return flask.jsonify({"predictions": answers} if "instances" in document else answers[0])
