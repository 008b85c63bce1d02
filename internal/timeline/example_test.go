package timeline_test

import (
	"fmt"
	"os"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/rotation"
	"github.com/cloakroom-go/cloakroom/internal/timeline"
)

func ExampleText() {
	day := func(d int) time.Time { return time.Date(2026, time.March, d, 0, 0, 0, 0, time.UTC) }
	plan := &rotation.Timeline{Now: day(10), From: day(2), Until: day(30), Rows: []rotation.Row{
		{ID: "k3JpX0QaTt0u8bVnBqk6nE9hGJfTPpIv2mqBqYw1b3c", Use: keyset.Signature, Algorithm: keyset.ES256,
			Spans: []rotation.Span{
				{State: keyset.Active, From: day(1), Until: day(16)},
				{State: keyset.Retiring, From: day(16), Reason: "sig+1 signs"},
			}},
		{ID: "sig+1", Use: keyset.Signature, Algorithm: keyset.ES256, Planned: true, Spans: []rotation.Span{
			{State: keyset.Pending, From: day(14), Until: day(16), Reason: "published 2 days before it signs"},
			{State: keyset.Active, From: day(16), Reason: "the key before it has signed for 15 days"},
		}},
	}}
	if err := timeline.Text(os.Stdout, plan, timeline.TextOptions{Width: 60}); err != nil {
		fmt.Println(err)
	}
	// Output:
	// Keys, 2026-03-02 to 2026-03-30 UTC
	//
	//                                ▼ today, 10 Mar
	// k3JpX0Qa ES256 sig  ███████████│████████▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒
	// sig+1*   ES256 sig             │      ░░████████████████████
	//                     ┬─────────┬┴────────┬─────────┬─────────
	//                     2 Mar     9 Mar     16 Mar    23 Mar
	//
	// ░ pending   █ active   ▒ retiring   * planned, not made yet
	//
	// To come (UTC)
	//   2026-03-14 00:00  sig+1*    new → pending
	//       published 2 days before it signs
	//   2026-03-16 00:00  k3JpX0Qa  active → retiring
	//       sig+1 signs
	//   2026-03-16 00:00  sig+1*    pending → active
	//       the key before it has signed for 15 days
}
