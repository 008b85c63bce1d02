package sqlstore

import "context"

// ErrLost is what CleanUp returns while another instance has the claim.
var ErrLost = errLost

// CleanUp is one pass of an instance that has no claim yet.
func (s *Store) CleanUp(ctx context.Context) error { return (&cleaner{s: s}).pass(ctx) }
