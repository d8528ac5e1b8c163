-- Posts one match context, and prints what wrk measured as one line of JSON (seconds, latencies in microseconds).
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{"zone": "VIP", "event": "Goal", "match_minute": 78, "score_diff": 1, "temperature": 31, "crowd_density": 0.95}'

-- wrk gives each thread variables of its own; "done" asks the threads for their count of 429s.
local threads = {}
function setup(thread) table.insert(threads, thread) end
function init(args) refused = 0 end
function response(status, headers, body) if status == 429 then refused = refused + 1 end end

function done(summary, latency, requests)
  local failed = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.status + summary.errors.timeout
  local refused = 0
  for _, thread in ipairs(threads) do refused = refused + thread:get("refused") end
  io.write(string.format('\nJSON {"requests": %d, "seconds": %.6f, "failed": %d, "refused": %d, "p50": %d, "p95": %d, "p99": %d}\n',
    summary.requests, summary.duration / 1e6, failed, refused, latency:percentile(50), latency:percentile(95), latency:percentile(99)))
end
