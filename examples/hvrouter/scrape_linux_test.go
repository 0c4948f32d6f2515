package main

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/testing/nstest"
	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

const scrapeFile = "prometheus/testdata/scrape.txt"

// TestScrape: a daemon with two sessions and a guest that is served by ARP, ND and DHCP serves, on its TCP
// port, the metrics of scrapeFile, on which the dashboard's queries are tried. With -update the file is
// recorded anew.
func TestScrape(t *testing.T) {
	if testing.Short() {
		t.Skip("needs namespaces and seconds")
	}
	h := newHost(t)
	h.kill(os.Kill)
	h.write("hv.yaml", strings.NewReplacer(
		"edge: {gateway4: 203.0.113.254}", "metrics: 127.0.0.1:9342\nedge: {gateway4: 203.0.113.254, arp: responder, dhcp: {on: true}}",
		"ipv4: [203.0.113.1]", `ipv4: [203.0.113.1], ipv6: ["2001:db8:1::7/128"]`).Replace(hvConfig))
	h.hv.IP("link set lo up")
	h.run()
	h.up()
	h.guest()
	h.cli("reload")
	var got string
	nstest.Wait(t, 10*time.Second, "all of the metrics", func() bool {
		got = h.scrape("127.0.0.1:9342")
		return strings.Contains(got, "\nhvrouter_converged 1\n") && strings.Contains(got, "\nhvrouter_guests_present 1\n") &&
			strings.Contains(got, `protocol="dhcp"`) && strings.Contains(got, `protocol="nd"`)
	})
	if scenario.Updating() {
		if err := os.WriteFile(scrapeFile, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	recorded, err := os.ReadFile(scrapeFile)
	if err != nil {
		t.Fatal(err)
	}
	served := seriesIn(got)
	want := seriesIn(string(recorded))
	if len(want) < 20 {
		t.Errorf("%d kinds of series in %s", len(want), scrapeFile)
	}
	for _, s := range slices.Sorted(maps.Keys(want)) {
		if !served[s] {
			t.Errorf("%s is in %s, and not served", s, scrapeFile)
		}
	}
}

// scrape asks the hypervisor's address as Prometheus does; "" if nobody answers.
func (h *host) scrape(address string) string {
	h.t.Helper()
	var conn net.Conn
	h.hv.Do(func() error {
		conn, _ = net.Dial("tcp4", address)
		return nil
	})
	if conn == nil {
		return ""
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(nstest.Patience))
	fmt.Fprintf(conn, "GET /metrics HTTP/1.0\r\n\r\n")
	r, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || r.StatusCode != http.StatusOK {
		return ""
	}
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return ""
	}
	return string(text)
}

var labelValue = regexp.MustCompile(`="[^"]*"`)

// seriesIn returns the metrics of hvrouter in a text of Prometheus, with the names of their labels.
func seriesIn(text string) map[string]bool {
	series := map[string]bool{}
	for line := range strings.Lines(text) {
		if end := strings.LastIndexByte(line, ' '); strings.HasPrefix(line, "hvrouter_") && end > 0 {
			series[labelValue.ReplaceAllString(line[:end], "")] = true
		}
	}
	return series
}
