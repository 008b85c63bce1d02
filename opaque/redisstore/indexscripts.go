package redisstore

// The scripts below work on one hash: KEYS[1]. ARGV[1] is the caller's clock in
// Unix seconds, and ARGV[2] is Linger in milliseconds. The clock of the caller
// decides which entries are over; the server's only removes the whole hash, and
// its life is only ever raised while it has entries.

// indexLibrary stands in front of each script. head of what is no entry says
// that it is marked, and is never over.
const indexLibrary = `local hash, now, linger = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])
local function isEntry(v) return #v >= 34 and string.byte(v) == 1 end
local function head(v)
  if not isEntry(v) then return 1, 0, 0, 0, math.huge end
  return struct.unpack('>Bi8i8i8i8', v, 2)
end
local function isOver(v) return select(5, head(v)) <= now end
local function get(id)
  local v = redis.call('HGET', hash, id)
  return v and not isOver(v) and v
end
local function split(v)
  local keys, at = {}, 35
  while isEntry(v) do
    local n = string.byte(v, at)
    if n == 0 then return #keys > 0 and keys, string.sub(v, at + 1) end
    if not n or at + n > #v then return end
    keys[#keys + 1] = string.sub(v, at + 1, at + n)
    at = at + 1 + n
  end
end
local function put(id, header, keys, details)
  local v = {header}
  for _, k in ipairs(keys) do v[#v + 1] = string.char(#k) .. k end
  v[#v + 1] = '\0' .. details
  redis.call('HSET', hash, id, table.concat(v))
end
local function life(over)
  return math.max(1, (math.min(over, 253402300799) - now) * 1000 + linger)
end
local function keep(over)
  if redis.call('PTTL', hash) < life(over) then
    redis.call('PEXPIRE', hash, string.format('%.0f', life(over)))
  end
end
local function setInstant(at)
  redis.call('HSET', hash, '', struct.pack('>Bi8i8', 1, at, now + 3600))
  keep(now + 3600)
end
local function instant()
  local v = redis.call('HGET', hash, '')
  if not v then return -math.huge end
  if #v ~= 17 or string.byte(v) ~= 1 then
    setInstant(now * 1000 + 999)
    return now * 1000 + 999
  end
  return (struct.unpack('>i8', v, 2))
end
`

// The results of enterScript other than 0.
const (
	subjectEnded = 1
	sessionEnded = 2
	tooMany      = 3
	tooManyKeys  = 4
)

// enterScript adds or changes the entry ARGV[3], whose header is ARGV[4]. Then
// come details, the key that is replaced, the limit of entries, that of keys in
// an entry, and the new keys. Only for a new entry does it look at the others,
// and removes those that are over.
const enterScript = `local id, details, replaces = ARGV[3], ARGV[5], ARGV[6]
local limit, most = tonumber(ARGV[7]), tonumber(ARGV[8])
local _, from, seen, token, over = head(ARGV[4])
if from <= instant() then return 1 end
local old, keys, first = get(id), {}, 1
if old then
  local marked, oldFrom, oldSeen, oldToken, oldOver = head(old)
  keys = split(old)
  if marked ~= 0 or not keys then return 2 end
  from, seen = math.max(from, oldFrom), math.max(seen, oldSeen)
  token, over = math.max(token, oldToken), math.max(over, oldOver)
else
  local all, others = redis.call('HGETALL', hash), 0
  for i = 1, #all, 2 do
    if all[i] ~= '' then
      if isOver(all[i + 1]) then redis.call('HDEL', hash, all[i]) else others = others + 1 end
    end
  end
  if others >= limit then return 3 end
end
local merged, has = {}, {}
local function add(k)
  if not has[k] then merged[#merged + 1], has[k] = k, true end
end
for i, k in ipairs(keys) do
  if k == replaces then first = i end
end
for i = first, #keys do add(keys[i]) end
for i = 9, #ARGV do add(ARGV[i]) end
if #merged > most then return 4 end
put(id, '\1\0' .. struct.pack('>i8i8i8i8', from, seen, token, over), merged, details)
keep(over)
return 0`

// extendScript moves the activity of the entry ARGV[3] forward to ARGV[4], and
// the end of its tokens to ARGV[5], both in Unix seconds.
const extendScript = `local v = get(ARGV[3])
if not v then return 0 end
local marked, _, seen, token = head(v)
if marked ~= 0 then return 0 end
local moved = struct.pack('>i8i8', math.max(seen, tonumber(ARGV[4])), math.max(token, tonumber(ARGV[5])))
if moved ~= string.sub(v, 11, 26) then
  redis.call('HSET', hash, ARGV[3], string.sub(v, 1, 10) .. moved .. string.sub(v, 27))
end
return 1`

// markLibrary begins with a write that changes nothing: no ID has 65 bytes.
// After it the server takes more writes from the script, also when its memory
// is full.
const markLibrary = `redis.call('HDEL', hash, string.rep('-', 65))
local function mark(id, v, marked)
  if isEntry(v) and string.byte(v, 2) == 0 then
    v = '\1\1' .. string.sub(v, 3)
    redis.call('HSET', hash, id, v)
  end
  marked[#marked + 1] = id
  marked[#marked + 1] = v
  return marked
end
`

// markOneScript marks the entry ARGV[3].
const markOneScript = markLibrary + `local v = get(ARGV[3])
if not v then return {} end
return mark(ARGV[3], v, {})`

// markAllScript marks the entries that count from ARGV[3], in Unix
// milliseconds, or earlier.
const markAllScript = markLibrary + `local at, marked = tonumber(ARGV[3]), {}
setInstant(math.max(at, instant()))
local all = redis.call('HGETALL', hash)
for i = 1, #all, 2 do
  local id, v = all[i], all[i + 1]
  if id ~= '' then
    local isMarked, from = head(v)
    if isOver(v) then
      redis.call('HDEL', hash, id)
    elseif isMarked ~= 0 or from <= at then
      mark(id, v, marked)
    end
  end
end
return marked`

// leaveScript takes the keys from ARGV[4] on out of the entry ARGV[3], or
// removes the entry. An instant that is left alone is kept no longer than it is
// needed.
const leaveScript = `local v = redis.call('HGET', hash, ARGV[3])
if not v then return 0 end
local keys, details = split(v)
local gone, left = {}, {}
for i = 4, #ARGV do gone[ARGV[i]] = true end
for _, k in ipairs(#ARGV > 3 and keys or {}) do
  if not gone[k] then left[#left + 1] = k end
end
if #left > 0 then
  if #left < #keys then put(ARGV[3], string.sub(v, 1, 34), left, details) end
  return 0
end
redis.call('HDEL', hash, ARGV[3])
local at = redis.call('HLEN', hash) == 1 and redis.call('HGET', hash, '')
if at and #at == 17 then
  local kept = struct.unpack('>i8', at, 10)
  redis.call('PEXPIRE', hash, string.format('%.0f', life(kept)))
end
return 0`
