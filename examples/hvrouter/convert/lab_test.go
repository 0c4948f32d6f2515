package convert

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/change"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/lab/conf"
	"github.com/hyperfib/hyperfib/examples/lab/plan"
	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

var timing = conf.Timing{BFD: 100 * time.Millisecond, Multiplier: 5}

// routed is the lab with top-of-rack routers.
var routed = conf.Timing{BFD: timing.BFD, Multiplier: timing.Multiplier, Lab: plan.Lab{Variant: plan.Variant{Mode: plan.ModeEBGPToR}}}

// api is where the daemon listens that the lab's own configuration is for.
const api = "/run/lab/hv.sock"

// printed is what iproute2 6.1 printed of rules, routes, addresses and neighbours on hypervisor n of
// `lab -hv bird -hold`, by the commands that `hvrouter help convert` lists.
func printed(t testing.TB, n int) Source {
	data, err := os.ReadFile(filepath.Join("testdata", plan.HVName(n)+".json"))
	if err != nil {
		t.Fatal(err)
	}
	return Source{IP, plan.HVName(n) + ".json", string(data)}
}

// bird1 is the published design for the two processes of BIRD 1.6. `bird -p` and `bird6 -p` 1.6.8 take
// it.
func bird1(n, family int) Source {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("log stderr all;\nrouter id %s;\nprotocol device { scan time 10; }", plan.RouterID(n))
	line("define ours = %d;", plan.AS)
	line(`protocol bfd { interface "*" { interval 100 ms; multiplier 5; }; }`)
	line("table public;")
	if family == 4 {
		line("table private; table localout;")
	}
	line("template bgp lab {\n  direct; ttl security on; bfd on; hold time 90; connect delay time 1; connect retry time 2; error wait time 1, 2;")
	line("  import all; export all; next hop self; add paths rx;\n}")
	session := func(name, device string, local, peer fmt.Stringer, table string) {
		line("protocol bgp %s from lab {\n  local %s as ours; neighbor %s as ours; interface %q; table %s;\n}", name, local, peer, device, table)
	}
	for _, f := range plan.Fabrics {
		if family == 6 {
			session(plan.RRName(f)+"_public6", f.Public(), plan.HVPublic6(n, f), plan.RRPublic6(f), "public")
			continue
		}
		session(plan.RRName(f)+"_public4", f.Public(), plan.HVPublic4(n, f), plan.RRPublic4(f), "public")
		session(plan.RRName(f)+"_private4", f.Private(), plan.HVPrivate4(n, f), plan.RRPrivate4(f), "private")
	}
	kernel := func(table string, number int, learn, export string) {
		line("protocol kernel kernel_%s {\n  table %s; persist;%s scan time 10; merge paths on; kernel table %d;\n  export filter { %saccept; };\n}",
			table, table, learn, number, export)
	}
	source := fmt.Sprintf("krt_prefsrc = %s; ", plan.Loopback(n))
	kernel("public", plan.TablePublic, " learn; import where dest = RTD_ROUTER || dest = RTD_DEVICE;", "")
	if family == 4 {
		kernel("private", plan.TablePrivate, " learn; import where dest = RTD_ROUTER || dest = RTD_DEVICE;", source)
		kernel("localout", plan.TableLocal, " import none;", source)
		line("protocol pipe private_localout { table localout; peer table private; import all; export none; }")
		line(`protocol pipe public_localout { table localout; peer table public; import where proto = "kernel_public"; export none; }`)
	}
	return Source{map[int]Kind{4: Bird, 6: Bird6}[family], map[int]string{4: "bird.conf", 6: "bird6.conf"}[family], b.String()}
}

// beside are the files of the programs that do for guests what BIRD does not.
func beside(n int) []Source {
	var ra, nd, dhcp strings.Builder
	fmt.Fprintf(&dhcp, "port=0\nbind-interfaces\ndhcp-authoritative\ndhcp-range=%s,static,%s,1h\ndhcp-option=option:router,%s\n",
		plan.Subnet4.Addr(), "255.255.255.0", plan.Gateway4)
	for _, g := range timing.GuestsOf(n) {
		fmt.Fprintf(&ra, "interface %s\n{\n\tAdvSendAdvert on;\n\tMaxRtrAdvInterval 600;\n\tAdvDefaultLifetime 1800;\n\tprefix %s\n\t{\n\t\tAdvValidLifetime 2592000;\n\t\tAdvPreferredLifetime 604800;\n\t};\n};\n", g.Name, g.Prefix6)
		fmt.Fprintf(&nd, "proxy %s {\n\trule 2001:db8::/32 {\n\t\tauto\n\t}\n}\n", g.Name)
		fmt.Fprintf(&dhcp, "interface=%s\ndhcp-host=%s,%s,%s\n", g.Name, g.MAC, g.IPv4, g.Name)
	}
	return []Source{{Radvd, "radvd.conf", ra.String()}, {Ndppd, "ndppd.conf", nd.String()}, {Dnsmasq, "dnsmasq.conf", dhcp.String()}}
}

// load reads a configuration as the daemon of the lab would.
func load(t *testing.T, name, text string) *config.Config {
	t.Helper()
	c, err := config.Parse(name, []byte(text), config.TableNames{})
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return c
}

// TestLab converts what the lab's generators write for each hypervisor, and compares what comes
// out with what they write for hvrouter: the golden files have the result and every difference,
// as a reload from one to the other says it.
func TestLab(t *testing.T) {
	for n := 1; n <= plan.HVs; n++ {
		two := Source{Bird, "bird.conf", conf.BirdHypervisor(n, timing)}
		for _, variant := range []struct {
			name    string
			sources []Source
		}{
			{"bird2", []Source{two, printed(t, n)}},
			{"bird1", []Source{bird1(n, 4), bird1(n, 6), printed(t, n)}},
			{"all", append(append([]Source{two}, beside(n)...), printed(t, n))},
		} {
			t.Run(fmt.Sprint(variant.name, "-", plan.HVName(n)), func(t *testing.T) {
				r, err := Convert(variant.sources)
				if err != nil {
					t.Fatal(err)
				}
				scenario.Golden(t, filepath.Join("testdata", variant.name+"-"+plan.HVName(n)+".yaml"), string(r.YAML))
				own := load(t, "own", conf.Hypervisor(n, api, timing))
				ours := load(t, "converted", "api: "+api+"\n"+string(r.YAML))
				for _, c := range change.Between(own, ours) {
					if !expected(c.Text) {
						t.Errorf("a reload of the lab's own configuration with the converted one: %s", c.Text)
					}
				}
			})
		}
	}
	for _, d := range differ {
		if !d.met {
			t.Errorf("no hypervisor differs in %v", d.what)
		}
	}
}

// differ is in what the converted configurations differ from the lab's own, and why. All else is
// equal: sessions, BFD, rules, tables, what is announced, guests.
var differ = []*struct {
	what *regexp.Regexp
	why  string
	met  bool
}{
	{what: regexp.MustCompile(`^bgp\.(connect-retry: 2s, was 5s|idle-hold: 2s, was 1m0s)$`), why: "BIRD's file says so"},
	{what: regexp.MustCompile(`^the session with .* is changed in place: other name \(name\), connect retry \(bgp.connect-retry\), idle hold \(bgp.idle-hold\)$`), why: "the same, and the next one"},
	{what: regexp.MustCompile(`^domain \w+: session with .*: name: rr[12]_\w+, was [0-9a-f:.]+$`), why: "a session has the name of its protocol"},
	{what: regexp.MustCompile(`^domain \w+: session with .*: fabric: [ab]\.\w+, was [AB]$`), why: "a label that BIRD does not have; the interface stands for it"},
	{what: regexp.MustCompile(`^domain \w+: session with .*: bfd: none, was on$`), why: "two words for the same: it follows the file's bfd"},
	{what: regexp.MustCompile(`^edge\.mac: none, was 02:00:00:00:00:fe$`), why: "without hvrouter the lab leaves each tap its MAC"},
	{what: regexp.MustCompile(`^overlay vx100: (vteps: none, was 172\.22\.2\.0/24|peers: \[.*\], was none)$`), why: "without hvrouter the flood list is a fixed one"},
	{what: regexp.MustCompile(`^guest vm4: (routed: \[203\.0\.113\.11/32\], was none|transparent\[0\] goes)$`), why: "a translated address has a route as any other; the translation is in nftables, which is not read"},
	{what: regexp.MustCompile(`^edge\.(dhcp\.on: true, was false|ra\.lifetime: 30m0s, was none)$`), why: "the lab's guests are configured without DHCP; the lifetime is the default one, said aloud"},
}

func expected(difference string) bool {
	for _, d := range differ {
		if d.what.MatchString(difference) {
			d.met = true
			return true
		}
	}
	return false
}

// TestBirdAlone has nothing but BIRD's file: what it does not say is a gap, with a word in its place
// that check refuses.
func TestBirdAlone(t *testing.T) {
	r, err := Convert([]Source{{Bird, "bird.conf", conf.BirdHypervisor(1, timing)}})
	if err != nil {
		t.Fatal(err)
	}
	if r.Complete() {
		t.Error("nothing is missing")
	}
	scenario.Golden(t, "testdata/bird2-alone.yaml", string(r.YAML))
	_, err = config.Parse("f", r.YAML, config.TableNames{})
	if err == nil || !strings.Contains(err.Error(), `"FILL-IN-the-interface" is not an interface name`) || strings.Contains(err.Error(), "\n") {
		t.Errorf("check says %v", err)
	}
	filled := strings.ReplaceAll(string(r.YAML), "FILL-IN-the-interface", "loopback")
	if c := load(t, "filled", filled); c.GuestDomain() == nil || c.GuestDomain().Name != "public" {
		t.Error("guests are not of public")
	}
}

// TestReflectors: who reflects, or passes routes on, is no hypervisor. Their sessions are left out,
// and named.
func TestReflectors(t *testing.T) {
	for name, text := range map[string]string{
		"bird-rr1":  conf.BirdReflector(plan.A, false, timing),
		"bird-rr2":  conf.BirdReflector(plan.B, true, timing),
		"bird1-rr1": conf.Bird1Reflector(plan.A, false, 4, timing),
		"edge":      conf.BirdEdge(timing, 2),
		"tor":       conf.BirdTor(routed.UnderlayRouters()[4], true, routed),
	} {
		t.Run(name, func(t *testing.T) {
			r, err := Convert([]Source{{Bird, name + ".conf", text}})
			if err != nil {
				t.Fatal(err)
			}
			scenario.Golden(t, filepath.Join("testdata", name+".yaml"), string(r.YAML))
			if r.Complete() {
				t.Error("nothing is left out")
			}
			left := slices.ContainsFunc(r.Gaps, func(g Gap) bool { return strings.Contains(g.Text, "rr client") || strings.Contains(g.Text, "range") })
			if want := strings.Contains(name, "rr"); left != want {
				t.Errorf("sessions with clients are left out: %t", left)
			}
		})
	}
}
