// Package prometheus holds what Prometheus and Grafana read about hvrouter, and its tests.
package prometheus

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// TestAlerts: promtool finds nothing wrong with the rules, and plays what sets them off.
func TestAlerts(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a program that .ci/peers installs")
	}
	promtool := nstest.Need(t, "promtool")
	for _, args := range [][]string{{"check", "rules", "alerts.yml"}, {"test", "rules", "alerts_test.yml"}} {
		if out, err := exec.Command(promtool, args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v: %s", strings.Join(args, " "), err, out)
		}
	}
}

// TestAlertsArePlayed: each rule is set off by one of the tests at least.
func TestAlertsArePlayed(t *testing.T) {
	rules, err := os.ReadFile("alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	played, err := os.ReadFile("alerts_test.yml")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(rules)) {
		name, ok := strings.CutPrefix(strings.TrimSpace(line), "- alert: ")
		if !ok {
			continue
		}
		n++
		if !strings.Contains(string(played), "alertname: "+name+"\n        exp_alerts:") {
			t.Errorf("no test sets off %s", name)
		}
	}
	if n == 0 {
		t.Error("no rules")
	}
}

// dashboard is what this test reads of one.
type dashboard struct {
	Panels []struct {
		Title   string
		Targets []struct{ Expr string }
	}
}

// TestDashboard has Prometheus scrape testdata/scrape.txt, which TestScrape of examples/hvrouter records of a
// daemon, and answer each query of the dashboard with something.
func TestDashboard(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a program that .ci/peers installs")
	}
	program := nstest.Need(t, "prometheus")
	text, err := os.ReadFile("dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	scrape, err := os.ReadFile("testdata/scrape.txt")
	if err != nil {
		t.Fatal(err)
	}
	daemon := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		w.Write(scrape)
	}))
	defer daemon.Close()
	address := serve(t, program, strings.TrimPrefix(daemon.URL, "http://"))
	replace := strings.NewReplacer("$__rate_interval", "1m", "$instance", ".*")
	n := 0
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			n++
			var answer string
			nstest.Wait(t, 10*time.Second, p.Title+": "+target.Expr, func() bool {
				var rows int
				answer, rows = query(t, address, replace.Replace(target.Expr))
				return answer == "success" && rows > 0
			})
		}
	}
	if n < 10 {
		t.Errorf("%d queries", n)
	}
}

// serve starts Prometheus, which scrapes a target each second, and returns its address.
func serve(t *testing.T, program, target string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	dir := t.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	rules, err := filepath.Abs("alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [%q]\nscrape_configs:\n  - job_name: hvrouter\n    static_configs: [{targets: [%q]}]\n", rules, target)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address, "--log.level=error")
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Signal(syscall.SIGTERM); cmd.Wait() })
	return address
}

// query asks Prometheus, and returns its status and the number of series; nothing if it does
// not answer yet.
func query(t *testing.T, address, expr string) (status string, rows int) {
	resp, err := http.Get("http://" + address + "/api/v1/query?query=" + url.QueryEscape(expr))
	if err != nil {
		return "", 0
	}
	defer resp.Body.Close()
	var answer struct {
		Status, Error string
		Data          struct{ Result []json.RawMessage }
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return "", 0
	}
	if answer.Status == "error" {
		t.Fatalf("%s: %s", expr, answer.Error)
	}
	return answer.Status, len(answer.Data.Result)
}
