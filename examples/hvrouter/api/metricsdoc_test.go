package api

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

// TestMetricsDocument: docs/metrics.md has every metric that is described, as it is.
// With -update it is written.
func TestMetricsDocument(t *testing.T) {
	ch := make(chan *prometheus.Desc, 1000)
	collector{}.Describe(ch)
	close(ch)
	parts := regexp.MustCompile(`fqName: "([^"]*)", help: "([^"]*)".*variableLabels: \{([^}]*)\}`)
	var rows []string
	for d := range ch {
		m := parts.FindStringSubmatch(d.String())
		if m == nil {
			t.Fatalf("%s", d)
		}
		kind := "gauge"
		if strings.HasSuffix(m[1], "_total") {
			kind = "counter"
		}
		rows = append(rows, fmt.Sprintf("| `%s` | %s | %s | %s | %s |", m[1], kind, unit(m[1]), strings.ReplaceAll(m[3], ",", ", "), m[2]))
	}
	slices.Sort(rows)
	scenario.Document(t, "../../../docs/metrics.md", "go test ./examples/hvrouter/api -update", "| metric | type | unit | labels | what it is |\n|---|---|---|---|---|\n"+strings.Join(rows, "\n")+"\n")
}

// unit is what a metric counts. There are no times and sizes yet among our own.
func unit(name string) string {
	for _, u := range [][2]string{{"_seconds", "seconds"}, {"_bytes", "bytes"}, {"packets", "packets"}, {"messages", "messages"}, {"answers", "messages"}, {"routes", "routes"}, {"prefix", "prefixes"}, {"guests", "guests"}} {
		if strings.Contains(name, u[0]) && !strings.HasSuffix(name, "_exceeded") {
			return u[1]
		}
	}
	switch {
	case strings.HasSuffix(name, "_health"):
		return "0, 1 or 2"
	case strings.HasSuffix(name, "_macs"):
		return "MACs"
	case strings.HasSuffix(name, "_objects"):
		return "objects"
	}
	if strings.HasSuffix(name, "_total") {
		return "times"
	}
	return "0 or 1"
}
