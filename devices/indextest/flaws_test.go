package indextest

import (
	"context"
	"slices"
	"strings"
	"testing"
)

// TestEveryFlawIsFound is the proof that the suite tests something: each flaw
// is found by the rules that are about it, and an index without flaws passes.
func TestEveryFlawIsFound(t *testing.T) {
	tests := map[flaw]struct{ name, rules string }{
		none:                {"none", ""},
		overwrites:          {"the last one wins", "later of both"},
		countsFromBack:      {"the last CountsFrom", "later of both"},
		countsFromSeconds:   {"CountsFrom in seconds", "round trip, later of both, mark all"},
		untilBack:           {"the last Until", "later of both"},
		keysSorted:          {"keys as a set", "keys, replaces"},
		keysAnyCase:         {"keys in any case", "keys, replaces"},
		keysMoved:           {"keys move to the end", "keys"},
		keysLost:            {"one key for each Enter", "keys"},
		replacesTooFew:      {"nothing goes", "replaces, too many keys"},
		replacesTooMany:     {"what is replaced goes, too", "replaces"},
		replacesFirst:       {"only what is replaced goes", "replaces"},
		replacesAfter:       {"looks for the new key before the old ones go", "replaces"},
		detailsKept:         {"the first details", "details"},
		detailsText:         {"details are text", "details, sizes"},
		detailsCut:          {"details of 255 bytes", "details, sizes"},
		oneSubject:          {"one subject", "apart"},
		subjectsAnyCase:     {"subjects in any case", "apart"},
		idsAnyCase:          {"IDs in any case", "apart, extend, leave"},
		idsTrimmed:          {"IDs are trimmed", "apart"},
		instantAsEntry:      {"lists the instant", "mark all"},
		keepsOver:           {"keeps what is over", "over"},
		dropsEarly:          {"drops a second early", "over"},
		extendBack:          {"Extend moves back", "extend"},
		extendPair:          {"Extend compares one instant", "extend"},
		extendCreates:       {"Extend creates", "extend, extend against leave"},
		extendMarked:        {"Extend of a marked entry", "extend"},
		extendSaysNo:        {"Extend says no", "extend"},
		leaveKeepsEmpty:     {"entries without keys", "leave, limit"},
		leaveAnyKey:         {"Leave of any key", "leave"},
		leaveFails:          {"Leave of nothing fails", "leave"},
		leaveUnmarks:        {"Leave takes the mark away", "leave"},
		markCreates:         {"Mark of what is not there", "mark one"},
		markOneKeepsInstant: {"an instant of one session", "mark one"},
		markOneMarksAll:     {"Mark of one marks all", "mark one"},
		markAllExclusive:    {"Mark excludes the instant", "mark all"},
		markAllRoundsUp:     {"Mark rounds up", "mark all"},
		markAllEverything:   {"Mark of everything", "mark all"},
		markReturnsNew:      {"Mark returns what it has marked itself", "mark one, mark again"},
		markReturnsAll:      {"Mark returns every entry", "mark one, mark again"},
		markReturnsUnmarked: {"Mark returns entries as they were", "mark one, mark all"},
		enterUnmarks:        {"Enter takes the mark away", "ended by a mark, leave"},
		instantExclusive:    {"Enter in the same millisecond", "ended by an instant"},
		instantBack:         {"the last instant", "later instant"},
		instantFirst:        {"the first instant", "later instant"},
		instantWithEntries:  {"an instant of one hour", "instant without entries"},
		instantMinute:       {"an instant of one minute", "instant without entries"},
		instantNever:        {"no instant", "ended by an instant, later instant, instant without entries"},
		instantOnlyNew:      {"an instant for new sessions", "ended by an instant"},
		limitOffByOne:       {"one more", "limit, limit and marks, limit under contention, limit with logouts"},
		limitCountsKnown:    {"a limit for renewals", "limit"},
		limitSkipsMarked:    {"a limit without marked ones", "limit and marks"},
		limitBeforeError:    {"entered, and refused", "limit, limit and marks"},
		keysUnlimited:       {"any number of keys", "too many keys"},
		keysCapped:          {"drops keys", "too many keys"},
		keysOneLess:         {"31 keys", "too many keys, sizes"},
		entriesCapped:       {"999 entries", "sizes"},
		sharesKeys:          {"one slice of keys", "data stays"},
		ignoresContext:      {"the context is ignored", "context"},
		enterInTwoSteps: {"looks, then enters", "limit under contention, limit with logouts, mark against enter, " +
			"keys under contention"},
		extendInTwoSteps: {"looks, then extends", "keys under contention, extend against mark, extend against leave"},
		markInTwoSteps:   {"looks, then marks", "mark against enter"},
		leaveInTwoSteps:  {"looks, then leaves", "keys under contention"},
		unavailable:      {"out of order", "round trip, limit under contention, extend against mark"},
	}
	if len(tests) != int(flaws) {
		t.Fatalf("%d flaws in the table, want %d", len(tests), flaws)
	}
	found := map[string]bool{}
	for f, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			expected, tested := strings.Split(tt.rules, ", "), 0
			for _, r := range rules() {
				if tt.rules == "" {
					if err := check(t.Context(), r, f); err != nil {
						t.Errorf("an index without flaws fails %q: %v", r.name, err)
					}
				} else if slices.Contains(expected, r.name) {
					found[r.name] = true
					tested++
					if find(t.Context(), r, f) == nil {
						t.Errorf("the rule %q didn't find it", r.name)
					}
				}
			}
			if tt.rules != "" && tested != len(expected) {
				t.Errorf("of the rules %q only %d exist", expected, tested)
			}
		})
	}
	for _, r := range rules() {
		if !found[r.name] {
			t.Errorf("the rule %q is to find no flaw: it would pass without testing", r.name)
		}
	}
}

// find returns what r finds in an index with the flaw. A race has several
// tries: no single one is sure to hit.
func find(ctx context.Context, r rule, f flaw) error {
	for range 50 {
		if err := check(ctx, r, f); err != nil {
			return err
		}
	}
	return nil
}

func check(ctx context.Context, r rule, f flaw) error {
	c := newClock()
	p := newProbe(ctx, newIndex(f, c.now), c)
	r.try(p)
	return p.err
}
