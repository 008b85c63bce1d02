package redisstore

import (
	"fmt"

	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/session"
)

// A value in the server has the form of package stored. The scripts read its
// header only.

// longestLife is the last instant until which the server may keep an item, in
// Unix seconds: the end of the year 9999. Redis refuses a life that overflows.
const longestLife = 253402300799

// swapScript replaces the value if its version is ARGV[1] and it has not
// expired at ARGV[2], in Unix seconds. ARGV[3] is the new value, and ARGV[4]
// its life in milliseconds. Versions are compared as bytes: Lua's numbers would
// lose the low bits. Instants fit into them.
const swapScript = `local header = redis.call('GETRANGE', KEYS[1], 0, 31)
if #header ~= 32 or string.sub(header, 1, 8) ~= ARGV[1] then return 0 end
local idle, deadline = struct.unpack('>i8i8', header, 17)
if math.min(idle, deadline) <= tonumber(ARGV[2]) then return 0 end
redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4])
return 1`

// touchScript moves the item's activity forward, unless it has expired at
// ARGV[1]. ARGV[2] is the activity, and ARGV[3] the idle deadline, both in Unix
// seconds. ARGV[4] is how many milliseconds an expired item lingers. The server
// refuses a write for which the user lacks the right. If that is the second
// one, the item only stays too long in the server; in the other order the
// server would remove it too early.
const touchScript = `local header = redis.call('GETRANGE', KEYS[1], 0, 31)
if #header ~= 32 then return 0 end
local seen, idle, deadline = struct.unpack('>i8i8i8', header, 9)
local now = tonumber(ARGV[1])
if math.min(idle, deadline) <= now then return 0 end
local nextSeen = math.max(seen, tonumber(ARGV[2]))
local nextIdle = math.max(idle, math.min(tonumber(ARGV[3]), deadline))
if nextIdle ~= idle then
  local over = math.min(nextIdle, deadline, 253402300799)
  redis.call('PEXPIRE', KEYS[1], string.format('%.0f', (over - now) * 1000 + tonumber(ARGV[4])))
end
if nextSeen ~= seen or nextIdle ~= idle then
  redis.call('SETRANGE', KEYS[1], 8, struct.pack('>i8i8', nextSeen, nextIdle))
end
return 1`

func validate(it opaque.Item, replaces uint64) error {
	if err := it.Validate(replaces); err != nil {
		return err
	}
	if len(it.Data) > maxData {
		return fmt.Errorf("redisstore: %d bytes of data, at most %d: %w", len(it.Data), maxData, session.TooLarge)
	}
	return nil
}
