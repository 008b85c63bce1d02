package revocation

// OpenStepwise is Open of a list whose journal asks step before each step that
// it takes. An error that it returns counts as the error of that step.
func OpenStepwise(cfg Config, step func(name string) error) (*List, error) {
	return openStepwise(cfg, step)
}

// Watching returns how many watch, or -1 if something is left of those who have
// stopped.
func (l *List) Watching() int {
	t := &l.watchers
	t.mu.Lock()
	defer t.mu.Unlock()
	n := int(t.count.Load())
	if n == 0 && len(t.sessions)+len(t.subjects)+len(t.due) > 0 {
		return -1
	}
	return n
}

// Recent returns how many entries are kept for services.
func (l *List) Recent() int {
	l.recent.mu.Lock()
	defer l.recent.mu.Unlock()
	return len(l.recent.kept)
}
