package revocation

import (
	"fmt"
	"time"
)

// agreeFor is how long the clocks must agree before a difference is reported
// again: a slow read does not show whether they do.
const agreeFor = time.Minute

// compareClocks notes how far the clock of the log's server is ahead, and
// reports it if that is more than half of Config.Skew: another instance may be
// as far off in the other direction.
func (f *feed) compareClocks(ahead time.Duration) {
	f.clockOffset.Store(int64(ahead))
	if skew := f.list.skew; skew == 0 || ahead.Abs() <= skew/2 {
		return
	}
	if time.Since(f.apart) > agreeFor {
		f.list.reports.tell(f.clocksDiffer(ahead))
	}
	f.apart = time.Now()
}

func (f *feed) clocksDiffer(ahead time.Duration) error {
	than := "behind"
	if ahead < 0 {
		than = "ahead of"
	}
	return fmt.Errorf("revocation: the clock of this machine is at least %v %s that of the log's server: when the clocks "+
		"of two instances differ by more than Skew, %v, the end of all sessions of a subject may miss some of them; "+
		"synchronize the clocks of all machines by NTP, or raise Skew (revocations.skew)",
		ahead.Abs().Round(time.Millisecond), than, f.list.skew)
}
