package rotation_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/rotation"
)

// on is midnight of a day in March 2026.
func on(day int) time.Time { return time.Date(2026, 3, day, 0, 0, 0, 0, time.UTC) }

// eventsOf returns "day id use from>to reason" for each event.
func eventsOf(tl *rotation.Timeline) []string {
	var list []string
	for _, e := range tl.Events() {
		line := fmt.Sprintf("%d %s %s %s>%s %s", e.At.Day(), e.ID, e.Use, e.From, e.To, e.Reason)
		if e.Planned {
			line += " (planned)"
		}
		list = append(list, line)
	}
	return list
}

func sigRow(id string, spans ...rotation.Span) rotation.Row {
	return rotation.Row{ID: id, Use: keyset.Signature, Algorithm: keyset.ES256, Spans: spans}
}

func TestEventsWithinTheWindow(t *testing.T) {
	life := sigRow("a",
		rotation.Span{State: keyset.Staged, From: on(1), Until: on(5), Reason: "made"},
		rotation.Span{State: keyset.Pending, From: on(5), Until: on(10), Reason: "published"},
		rotation.Span{State: keyset.Active, From: on(10), Until: on(20), Reason: "signs"},
		rotation.Span{State: keyset.Retiring, From: on(20), Reason: "superseded"},
	)
	made, published, signs, retires := "1 a sig unknown>staged made", "5 a sig staged>pending published", "10 a sig "+
		"pending>active signs", "20 a sig active>retiring superseded"
	for _, row := range []struct {
		name        string
		from, until time.Time
		want        []string
	}{
		{"all", on(1), on(31), []string{made, published, signs, retires}},
		{"both ends are included", on(5), on(10), []string{published, signs}},
		{"a nanosecond less", on(5).Add(1), on(10).Add(-1), nil},
		{"before", on(1).AddDate(0, -1, 0), on(1).Add(-1), nil},
		{"after", on(21), on(31), nil},
		{"state before the window is known", on(20), on(20), []string{retires}},
		{"no length", on(3), on(3), nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			tl := &rotation.Timeline{Now: on(7), From: row.from, Until: row.until, Rows: []rotation.Row{life}}
			require.Equal(t, row.want, eventsOf(tl))
		})
	}
}

func TestEventsInOrder(t *testing.T) {
	at := func(id string, use keyset.Use, days ...int) rotation.Row {
		r := rotation.Row{ID: id, Use: use, Planned: id == "sig+1"}
		for i, d := range days {
			s := rotation.Span{State: keyset.Pending + keyset.State(i), From: on(d)}
			if i+1 < len(days) {
				s.Until = on(days[i+1])
			}
			r.Spans = append(r.Spans, s)
		}
		return r
	}
	tl := &rotation.Timeline{From: on(1), Until: on(31), Rows: []rotation.Row{
		at("z", keyset.Signature, 4, 9), at("b", keyset.Signature, 9), at("sig+1", keyset.Signature, 12), at("a",
			keyset.Encryption, 2, 9, 9, 9),
	}}
	require.Equal(t, []string{
		"2 a enc unknown>pending ",
		"4 z sig unknown>pending ",
		"9 z sig pending>active ",
		"9 b sig unknown>pending ",
		"9 a enc pending>active ",
		"9 a enc active>retiring ",
		"9 a enc retiring>expired ",
		"12 sig+1 sig unknown>pending  (planned)",
	}, eventsOf(tl))
}

func TestEventsOfNothing(t *testing.T) {
	require.Empty(t, (&rotation.Timeline{}).Events())
	require.Empty(t, (&rotation.Timeline{From: on(1), Until: on(2), Rows: []rotation.Row{sigRow("a")}}).Events())
}

func TestEventsLeavesTheTimelineAlone(t *testing.T) {
	tl := &rotation.Timeline{From: on(1), Until: on(31), Rows: []rotation.Row{
		sigRow("b", rotation.Span{State: keyset.Active, From: on(9)}), sigRow("a",
			rotation.Span{State: keyset.Active, From: on(2)}),
	}}
	first := eventsOf(tl)
	require.Equal(t, first, eventsOf(tl))
	require.Equal(t, "b", tl.Rows[0].ID)
}
