package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/hvrouter/api/apitest"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// examples are values of parameters about which the daemon of TestRunning has something to say.
var examples = map[string]string{
	"address": "192.168.5.1", "advertised": "198.51.100.126", "received": "198.51.100.126", "peer": "198.51.100.126", "domain": "public", "event": "*", "from": "vm1", "guest": "vm1",
	"interface": "", "kind": "guest-to-hypervisor", "last": "3", "mac": "02:00:00:00:00:07", "overlay": "vx100", "prefix": "203.0.113.3", "profile": "goroutine", "recent": "1", "since": "2020-01-01T00:00:00Z", "source": "203.0.113.1", "table": "90", "vni": "100", "vtep": "172.22.2.1",
}

// empty are resources that may have nothing to say while all is well.
var empty = []string{"/v1/diff"}

// TestRunning holds a daemon that runs, with two sessions, routes and a guest, against its documents: every GET of
// docs/openapi.json, with each parameter, and the metrics of docs/metrics.md on the TCP port.
func TestRunning(t *testing.T) {
	if testing.Short() {
		t.Skip("needs namespaces and seconds")
	}
	h := newHost(t)
	h.kill(os.Kill)
	h.write("hv.yaml", strings.NewReplacer(
		"edge: {gateway4: 203.0.113.254}", "metrics: 127.0.0.1:9342\nstate-directory: DIR/state\nedge: {gateway4: 203.0.113.254, arp: responder, dhcp: {on: true}}",
		"    guests: true", "    guests: true\n    loopback: true", // EVPN announces the loopback address as the VTEP
		"guests:\n", "overlays: [{name: vx100, vni: 100, bridge: br100, evpn: {}}]\nguests:\n",
		"ipv4: [203.0.113.1]", `ipv4: [203.0.113.1], ipv6: ["2001:db8:1::7/128"], overlays: [{overlay: vx100, interface: vm1.x, mac: "02:00:00:00:00:07"}]`).Replace(hvConfig))
	if err := os.Mkdir(h.path("state"), 0o700); err != nil {
		t.Fatal(err)
	}
	h.hv.IP("link set lo up")
	h.run()
	h.up()
	h.guest()
	h.hv.IP("link add vm1.x type veth peer name vm1.y") // its interface on the overlay
	h.hv.IP("link set vm1.x up")
	h.route("203.0.113.1", "vm1")
	h.wait("the route of another host", func() bool { return h.routes("route show table 90 203.0.113.3") != "" })
	h.wait("a drop", func() bool {
		_ = h.vm.Command("bash", "-c", "echo > /dev/udp/203.0.113.254/99").Run()
		var drops []api.Drop
		return h.ask("/v1/firewall", &drops) == nil && slices.ContainsFunc(drops, func(d api.Drop) bool { return d.Kind == examples["kind"] && d.Packets > 0 })
	})
	h.wait("the guest's MAC is announced", func() bool {
		var routes []api.EVPN
		return h.ask("/v1/evpn", &routes) == nil && slices.ContainsFunc(routes, func(r api.EVPN) bool { return r.MAC == examples["mac"] })
	})
	h.cli("reload")
	t.Run("API", h.answersAsDescribed)
	t.Run("metrics", h.metricsAsDescribed)
}

func (h *host) answersAsDescribed(t *testing.T) {
	d, err := apitest.Read("../../docs/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", h.path("api.sock"))
	}}, Timeout: nstest.Patience}
	ask := func(path string, values url.Values) (code int, body []byte) {
		target := strings.ReplaceAll(path, "{profile}", examples["profile"])
		if strings.HasPrefix(path, "/debug/pprof/") && path != "/debug/pprof/{profile}" {
			values = url.Values{"seconds": {"1"}}
		}
		resp, err := client.Get("http://hvrouter" + target + "?" + values.Encode())
		if err != nil {
			t.Errorf("GET %s?%s: %v", target, values.Encode(), err)
			return 0, nil
		}
		defer resp.Body.Close()
		if path == "/v1/events" { // it has no end
			body, err = bufio.NewReader(resp.Body).ReadBytes('\n')
		} else {
			body, err = io.ReadAll(resp.Body)
		}
		if err == nil {
			err = d.Check("GET", path, resp.StatusCode, resp.Header, body)
		}
		if err != nil {
			t.Errorf("GET %s?%s: %v", target, values.Encode(), err)
		}
		return resp.StatusCode, body
	}
	paths, parameters := d.Gets()
	if len(paths) < 20 {
		t.Errorf("%d resources", len(paths))
	}
	for _, path := range paths {
		required := url.Values{}
		for _, p := range parameters[path] {
			if p.Required && !p.Path {
				required.Set(p.Name, examples[p.Name])
			}
		}
		switch path {
		case "/v1/routes":
			required.Set("received", examples["received"])
		case "/v1/events":
			required.Set("recent", "1")
		}
		code, body := ask(path, required)
		if code != http.StatusOK {
			t.Errorf("GET %s: %d %s", path, code, body)
		}
		var list []any
		if json.Unmarshal(body, &list) == nil && len(list) == 0 && !slices.Contains(empty, path) {
			t.Errorf("GET %s has nothing to show", path)
		}
		for _, p := range parameters[path] {
			value, known := examples[p.Name]
			if p.Name == "interface" {
				value = map[string]string{"/v1/guests": "vm1", "/v1/neighbours": "vm1"}[path]
				if value == "" {
					value = "a.public"
				}
			}
			if !known {
				t.Errorf("GET %s: what is asked about %q?", path, p.Name)
			}
			if p.Path || required.Has(p.Name) {
				continue
			}
			with := url.Values{}
			for k, v := range required {
				if path != "/v1/routes" || p.Name == "prefix" { // otherwise received or advertised
					with[k] = v
				}
			}
			with.Set(p.Name, value)
			if p.Name == "source" {
				with.Set("from", examples["from"])
			}
			if code, body := ask(path, with); code != http.StatusOK {
				t.Errorf("GET %s?%s: %d %s", path, with.Encode(), code, body)
			}
			with.Set(p.Name, "no-such-thing")
			if p.Name == "event" && path == "/v1/events" {
				continue // none comes
			}
			if code, _ := ask(path, with); code < 200 || code >= 500 {
				t.Errorf("GET %s?%s: %d", path, with.Encode(), code)
			}
		}
	}
	_, served := ask("/v1/openapi.json", nil)
	if text, err := os.ReadFile("../../docs/openapi.json"); err != nil || !bytes.Equal(text, served) {
		t.Errorf("the document that is served is not the one of the sources: %v", err)
	}
}

// without are metrics that this daemon has nothing to say of: no repair, difference,
// prefix limit or namespace with a name.
var without = []string{"hvrouter_bgp_prefix_limit", "hvrouter_bgp_prefix_limit_exceeded", "hvrouter_bgp_prefixes_counted", "hvrouter_dhcp_answers_dropped_total", "hvrouter_differences_total",
	"hvrouter_foreign_objects", "hvrouter_namespace_present", "hvrouter_repairs_total", "hvrouter_repairs_contended_total"}

var metricRow = regexp.MustCompile("(?m)^\\| `(hvrouter_[a-z_]+)` \\| (\\w+) \\| [^|]* \\| ([^|]*) \\|")

func (h *host) metricsAsDescribed(t *testing.T) {
	document, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	types, labels := map[string]string{}, map[string]string{}
	for _, m := range metricRow.FindAllStringSubmatch(string(document), -1) {
		list := strings.Split(strings.TrimSpace(m[3]), ", ")
		slices.Sort(list)
		types[m[1]], labels[m[1]] = m[2], strings.Join(list, ",")
	}
	if len(types) < 30 {
		t.Errorf("%d metrics in docs/metrics.md", len(types))
	}
	var page string
	nstest.Wait(t, 10*time.Second, "the metrics", func() bool {
		page = h.scrape("127.0.0.1:9342")
		return strings.Contains(page, "\nhvrouter_guests_present 1\n")
	})
	served := map[string]bool{}
	for line := range strings.Lines(page) {
		if f := strings.Fields(line); len(f) == 4 && f[1] == "TYPE" && strings.HasPrefix(f[2], "hvrouter_") && types[f[2]] != f[3] {
			t.Errorf("%s is a %s, and in docs/metrics.md %q", f[2], f[3], types[f[2]])
		}
	}
	for s := range seriesIn(page) {
		name, rest, _ := strings.Cut(s, "{")
		list := strings.Split(strings.TrimSuffix(rest, "}"), ",")
		slices.Sort(list)
		if served[name] = true; types[name] == "" || labels[name] != strings.Join(list, ",") {
			t.Errorf("%s with the labels %q: docs/metrics.md has %q", name, list, labels[name])
		}
	}
	for name := range types {
		if !served[name] && !slices.Contains(without, name) {
			t.Errorf("%s is in docs/metrics.md, and not served", name)
		}
	}
	promtool, err := exec.LookPath("promtool")
	if err != nil && os.Getenv("HYPERFIB_CI") == "" {
		t.Log("without promtool")
		return
	}
	cmd := exec.Command(promtool, "check", "metrics")
	cmd.Stdin = strings.NewReader(page)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool: %v: %s", err, out)
	}
	var status api.Status
	if err := h.ask("/v1/status", &status); err != nil || !strings.Contains(page, fmt.Sprintf("\nhvrouter_converged %d\n", map[bool]int{true: 1}[status.Converged])) {
		t.Errorf("converged: %v by the API, %v", status.Converged, err)
	}
}
