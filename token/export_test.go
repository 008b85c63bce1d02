package token

import "context"

// SetStep has step called before each access to c's memory. Call it before c is used.
func SetStep(c *Carrier, step func(ctx context.Context, access string)) { c.memory.step = step }
