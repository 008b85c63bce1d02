package otelcloakroom_test

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/cloakroom-go/cloakroom/config"
)

// The tables of docs/observability.md have the metrics that exist, and all
// values of their attributes.
func TestDocument(t *testing.T) {
	text, err := os.ReadFile("../docs/observability.md")
	require.NoError(t, err)
	want := map[string]*row{}
	synctest.Test(t, func(t *testing.T) {
		for _, mode := range []config.Mode{config.Stateless, config.Opaque} {
			a := start(t, mode)
			run(t, a)
			s, stop := service(t, a)
			defer stop()
			for _, m := range append(a.metrics(t), s.metrics(t)...) {
				if want[m.Name] == nil {
					want[m.Name] = &row{attributes: map[string]bool{}}
				}
				want[m.Name].add(m)
			}
		}
	})
	require.NotEmpty(t, want)
	for name, row := range want {
		require.Contains(t, string(text), "\n"+row.String()+"\n", name)
	}
	metric := regexp.MustCompile("(?m)^\\| `([^`]+)` \\| (counter|up-down counter|gauge|histogram),")
	for _, match := range metric.FindAllStringSubmatch(string(text), -1) {
		require.Contains(t, want, match[1], "there is no such metric")
	}
	for key, values := range allowed() {
		require.Contains(t, string(text), fmt.Sprintf("\n| `%s` | %s |", key, quoted(values)), key)
	}
}

// A row is what the document says about one metric.
type row struct {
	metricdata.Metrics
	kind       string
	attributes map[string]bool // their keys
}

func (r *row) add(m metricdata.Metrics) {
	r.Metrics = m
	switch data := m.Data.(type) {
	case metricdata.Sum[int64]:
		r.kind = "up-down counter"
		if data.IsMonotonic {
			r.kind = "counter"
		}
		for _, p := range data.DataPoints {
			for _, kv := range p.Attributes.ToSlice() {
				r.attributes[string(kv.Key)] = true
			}
		}
	case metricdata.Gauge[float64]:
		r.kind = "gauge"
	case metricdata.Histogram[float64]:
		r.kind = "histogram"
		for _, p := range data.DataPoints {
			for _, kv := range p.Attributes.ToSlice() {
				r.attributes[string(kv.Key)] = true
			}
		}
	}
}

func (r *row) String() string {
	attributes := quoted(slices.Sorted(maps.Keys(r.attributes)))
	return fmt.Sprintf("| `%s` | %s, `%s` | %s | %s |", r.Name, r.kind, r.Unit, attributes, r.Description)
}

func quoted(all []string) string {
	if len(all) == 0 {
		return ""
	}
	return "`" + strings.Join(all, "`, `") + "`"
}
