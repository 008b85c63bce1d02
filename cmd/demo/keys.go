package main

import (
	"html/template"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/rotation"
	"github.com/cloakroom-go/cloakroom/internal/timeline"
	"github.com/cloakroom-go/cloakroom/keys"
)

// drawKeys draws when the keys sign and verify, from half a rotation period ago
// until nearly two periods ahead.
func drawKeys(set *keys.Set, now time.Time) (template.HTML, error) {
	period := set.Policy().RotationPeriod
	plan, err := rotation.Plan((*keyset.Set)(set), now, now.Add(-period/2), now.Add(2*period-period/8))
	if err != nil {
		return "", err
	}
	var out strings.Builder
	err = timeline.SVG(&out, plan)
	_, picture, _ := strings.Cut(out.String(), "<svg") // without the XML declaration
	return template.HTML("<svg" + picture), err        // package timeline escapes all that comes from the file
}
