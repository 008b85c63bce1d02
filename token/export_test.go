package token

import (
	"context"

	"github.com/cloakroom-go/cloakroom/session"
)

// SetStep has step called before each access to c's memory. Call it before c is
// used.
func SetStep(c *Carrier, step func()) { c.memory.step = step }

// SetChecking has checking called before each check of a session token's
// signature. Call it before c is used.
func SetChecking(c *Carrier, checking func()) { c.codec.checking = checking }

// MemoryUsed returns what c's memory is estimated to take, in bytes.
func MemoryUsed(c *Carrier) int {
	c.memory.mu.Lock()
	defer c.memory.mu.Unlock()
	return c.memory.used
}

// Unremembered opens a token as if it were seen for the first time.
func Unremembered(ctx context.Context, c *Carrier, credential string) (*session.Record, error) {
	s, err := c.codec.open(ctx, credential, c.c.Now())
	if err != nil {
		return nil, err
	}
	return s.rec, nil
}
