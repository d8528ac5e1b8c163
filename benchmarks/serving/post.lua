-- Posts one match context, and prints what wrk measured as one line of JSON (seconds, latencies in microseconds).
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{"zone": "VIP", "event": "Goal", "match_minute": 78, "score_diff": 1, "temperature": 31, "crowd_density": 0.95}'

function done(summary, latency, requests)
  local failed = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.status + summary.errors.timeout
  io.write(string.format('\nJSON {"requests": %d, "seconds": %.6f, "failed": %d, "p50": %d, "p95": %d, "p99": %d}\n',
    summary.requests, summary.duration / 1e6, failed, latency:percentile(50), latency:percentile(95), latency:percentile(99)))
end
