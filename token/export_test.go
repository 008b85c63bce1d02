package token

import "context"

// SetStep has step called before each access to c's memory. Call it before c is used.
func SetStep(c *Carrier, step func(ctx context.Context, access string)) { c.memory.step = step }

// MemoryUsed returns what c's memory is estimated to take, in bytes.
func MemoryUsed(c *Carrier) int {
	c.memory.mu.Lock()
	defer c.memory.mu.Unlock()
	return c.memory.used
}
