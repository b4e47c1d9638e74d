-- Requests for wrk, each with a body of its own, in closed or in open loop.
--
-- Bodies are whole files in which STAMP stands where an input may differ from any other. There a
-- fresh input gets three words of four letters that no request had before; one that repeats gets
-- three fixed ones. All have 14 characters, so that sizes stay as they are. With ++ for -- in it,
-- it stands inside of base64, which knows no blanks.
--
-- wrk ... -- KEY=VALUE ..., of which these are needed:
--   bodies    a file with the path of a body in each line
--   words     a file with a word of four letters in each line
--   type      the bodies' Content-Type
--   start     the number of the first request: no two runs of one server share numbers
--   fresh     how often an input is fresh, by its place in a body: "1,1,1" all, "0,0,0" none
--   rate      requests a second, due at even intervals whether or not answers come; 0 for closed loop
--   log       a file for a line of each answer: status, and in seconds its latency, how late it was
--             sent, and when it came after the first request was due
--   skip      answers after which the clock starts: before, the server was not yet busy

local ffi = require("ffi")
ffi.cdef [[
typedef struct { long seconds; long nanoseconds; } moment;
int clock_gettime(int clock, moment *now);
]]

local STAMP = "{{the([-+])[-+]stamp}}"
local MONOTONIC = 1
local moment = ffi.new("moment")

local function now()
  ffi.C.clock_gettime(MONOTONIC, moment)
  return tonumber(moment.seconds) + tonumber(moment.nanoseconds) / 1e9
end

local function lines(path)
  local found = {}
  for line in io.lines(path) do found[#found + 1] = line end
  return found
end

local function split(body)
  local pieces, from = { blanks = {} }, 1
  while true do
    local first, last, sign = body:find(STAMP, from)
    pieces[#pieces + 1] = body:sub(from, (first or 0) - 1)
    if not first then return pieces end
    pieces.blanks[#pieces] = sign == "+" and "/" or " "
    from = last + 1
  end
end

local function options(args)
  local found = {}
  for _, arg in ipairs(args) do
    local key, value = arg:match("^(%w+)=(.*)$")
    found[key] = value
  end
  return found
end

local threads = {}

function setup(thread)
  threads[#threads + 1] = thread
end

function init(args)
  local given = options(args)
  words = lines(given.words)
  bodies = {}
  for number, path in ipairs(lines(given.bodies)) do
    local file = assert(io.open(path, "rb"))
    bodies[number] = split(file:read("*a"))
    file:close()
  end
  shares = {}
  for share in given.fresh:gmatch("[^,]+") do shares[#shares + 1] = tonumber(share) end
  number = tonumber(given.start)
  math.randomseed(number)
  headers = { ["Content-Type"] = given.type }
  step = tonumber(given.rate) > 0 and 1 / tonumber(given.rate) or nil
  skip = tonumber(given.skip or "0")
  log = given.log and assert(io.open(given.log, "w"))
  awaited, sent, answered = {}, 0, 0
  opened, closed, due, head, tail = 0, 0, {}, 1, 0
  -- Each of these hooks costs time, so only those that a run needs are there.
  if not step then delay = nil end
  if not log and skip == 0 then response = nil end
  if given.fresh:match("^[0,]+$") and not log then ready = whole_requests() end
end

local function stamp(number, blank)
  local count = #words
  local first = words[number % count + 1]
  local second = words[math.floor(number / count) % count + 1]
  local third = words[math.floor(number / count / count) % count + 1]
  return table.concat({ first, second, third }, blank)
end

-- Repeated inputs are those of the body itself: number 0, which no run begins with.
local function stamped(pieces, number)
  local parts, place = { pieces[1] }, 0
  for piece = 2, #pieces do
    place = place + 1
    local fresh = math.random() < (shares[place] or 1)
    parts[#parts + 1] = stamp(fresh and number or 0, pieces.blanks[place])
    parts[#parts + 1] = pieces[piece]
  end
  return table.concat(parts)
end

function whole_requests()
  local found = {}
  for place, pieces in ipairs(bodies) do
    found[place] = wrk.format("POST", nil, headers, stamped(pieces, 0))
  end
  return found
end

-- Milliseconds to the next moment at which a request is due.
function delay()
  if tail == 0 then start = now() end
  tail = tail + 1
  due[tail] = start + (tail - 1) * step
  return math.max(0, math.floor((due[tail] - now()) * 1000))
end

-- wrk asks for one request before any is due, to see what it looks like.
function next_due()
  if head > tail then return nil end
  local moment = due[head]
  due[head], head = nil, head + 1
  return moment
end

function request()
  number, sent = number + 1, sent + 1
  if ready then return ready[number % #ready + 1] end
  if log then
    local id, moment = tostring(number), now()
    awaited[id] = { moment, next_due() or moment }
    headers["X-Request-Id"] = id
  end
  return wrk.format("POST", nil, headers, stamped(bodies[number % #bodies + 1], number))
end

function response(status, headers)
  answered, closed = answered + 1, now()
  if answered == skip then opened = closed end
  local id = log and (headers["x-request-id"] or headers["X-Request-Id"])
  local times = id and awaited[id]
  if times then
    awaited[id] = nil
    local from = math.min(times[1], times[2])
    log:write(string.format(
      "%d %.6f %.6f %.6f\n", status, closed - from, times[1] - from, closed - start))
  end
end

function done(summary, latency)
  local thread, errors = threads[1], summary.errors
  local lost = errors.connect + errors.read + errors.write + errors.timeout
  local clock = thread:get("opened") > 0 and thread:get("closed") - thread:get("opened") or 0
  io.write(string.format(
    '\n{"requests": %d, "seconds": %.6f, "refused": %d, "lost": %d, "sent": %d, "busy": %.6f, ' ..
    '"p50": %.6f, "p99": %.6f}\n',
    summary.requests, summary.duration / 1e6, errors.status, lost, thread:get("sent"), clock,
    latency:percentile(50) / 1e6, latency:percentile(99) / 1e6))
end
