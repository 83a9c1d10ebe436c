-- One heartbeat a request for a service drawn at random. Arguments after `--`: services, pipelined requests, close.
-- The request is joined from ready pieces: wrk is to cost its core as little as it can.
local services, depth, pieces = 1, 1, {}

local function request_for(number)
  local body = string.format('{"heartbeat_name":"service-%07d","service_name":"bench","status":"UP"}', number)
  return pieces.head .. #body .. "\r\n\r\n" .. body
end

function init(args)
  services = tonumber(args[1] or 1)
  depth = tonumber(args[2] or 1)
  local host = wrk.host .. ":" .. (wrk.port or 80)
  local close = args[3] == "close" and "Connection: close\r\n" or ""
  pieces.head = "POST /heartbeat HTTP/1.1\r\nHost: " .. host .. "\r\n" .. close
    .. "Content-Type: application/json\r\nContent-Length: "
  math.randomseed(os.time())
end

function request()
  if depth == 1 then
    return request_for(math.random(0, services - 1))
  end
  local requests = {}
  for place = 1, depth do
    requests[place] = request_for(math.random(0, services - 1))
  end
  return table.concat(requests)
end

-- What every load prints at its end: one line of JSON, with a mark before it that nothing else prints.
function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '\n@medic {"requests":%d,"seconds":%.6f,"not_2xx":%d,"socket_errors":%d,"p50_ms":%.3f,"p99_ms":%.3f,"max_ms":%.3f}\n',
    summary.requests, summary.duration / 1e6, errors.status, errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, latency.max / 1e3))
end
