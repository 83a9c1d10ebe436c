-- Many heartbeats a request, for services drawn at random. Arguments after `--`: services, heartbeats a request.
-- The bodies are made beforehand: joining a thousand heartbeats for each request would be wrk's work, not Medic's.
local BODIES = 64
local requests, at = {}, 0

function init(args)
  local services, many = tonumber(args[1]), tonumber(args[2])
  local host = wrk.host .. ":" .. (wrk.port or 80)
  math.randomseed(os.time())
  for number = 1, BODIES do
    local items = {}
    for place = 1, many do
      items[place] = string.format('{"heartbeat_name":"service-%07d","status":"UP"}', math.random(0, services - 1))
    end
    local body = "[" .. table.concat(items, ",") .. "]"
    requests[number] = "POST /v2/heartbeats HTTP/1.1\r\nHost: " .. host
      .. "\r\nContent-Type: application/json\r\nContent-Length: " .. #body .. "\r\n\r\n" .. body
  end
end

function request()
  at = at % BODIES + 1
  return requests[at]
end

-- What every load prints at its end: one line of JSON, with a mark before it that nothing else prints.
function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '\n@medic {"requests":%d,"seconds":%.6f,"not_2xx":%d,"socket_errors":%d,"p50_ms":%.3f,"p99_ms":%.3f,"max_ms":%.3f}\n',
    summary.requests, summary.duration / 1e6, errors.status, errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, latency.max / 1e3))
end
