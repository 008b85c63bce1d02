package rotation

import "time"

// Next is when something is due, as the last look of r found; zero if that is
// not known. For tests, after Close.
func (r *Rotator) Next() time.Time { return r.next }
