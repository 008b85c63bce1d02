package revocation

// OpenStepwise is Open of a list whose journal asks step before each step that
// it takes. An error that it returns counts as the error of that step.
func OpenStepwise(cfg Config, step func(name string) error) (*List, error) {
	return openStepwise(cfg, step)
}
