package convert

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

// kindOf is the kind of a file by its name: bird.conf, ip.json.
func kindOf(name string) Kind {
	kind, _, _ := strings.Cut(name, ".")
	return Kind(kind)
}

// TestCases converts the files of each archive in testdata/cases. Its last two are the result, and
// what check says of it.
func TestCases(t *testing.T) {
	files, err := filepath.Glob("testdata/cases/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d cases: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			inputs := a.Files[:len(a.Files)-2]
			var sources []Source
			for _, f := range inputs {
				sources = append(sources, Source{kindOf(f.Name), f.Name, string(f.Data)})
			}
			r, err := Convert(sources)
			if err != nil {
				t.Fatal(err)
			}
			verdict := "fine\n"
			if _, err := config.Parse("want", r.YAML, config.TableNames{}); err != nil {
				verdict = err.Error() + "\n"
				if r.Complete() {
					t.Errorf("check refuses what is said to be complete: %v", err)
				}
			}
			a.Files = append(inputs[:len(inputs):len(inputs)], txtar.File{Name: "want", Data: r.YAML}, txtar.File{Name: "check", Data: []byte(verdict)})
			scenario.Golden(t, file, string(txtar.Format(a)))
		})
	}
}

// TestMalformed: what cannot be read is an error with its place.
func TestMalformed(t *testing.T) {
	for _, c := range []struct {
		kind       Kind
		text, want string
	}{
		{Bird, "router id 1.2.3.4", `f:1: "router id 1.2.3.4" has no semicolon and no block`},
		{Bird, "router id;", `f:1: "router id": want router id ADDRESS`},
		{Bird, "\nprotocol bgp x {\n", "f:2: the block that begins here does not end"},
		{Bird, "}", "f:1: } without {"},
		{Bird, "/* x", "f:1: the comment that begins here does not end"},
		{Bird, "include \"x\n\";", "f:1: the string that begins here does not end on its line"},
		{Bird, "\n\x00;", "f:2: \" \" is nothing of BIRD's language"},
		{Bird, "protocol bgp x from y { }", `f:1: there is no template "y"`},
		{Bird, "template bgp a from b { } template bgp b from a { }\nprotocol bgp x from a { }", "f:2: templates that are made from each other"},
		{Bird, "define a = b; define b = a;\nrouter id a;", "f:2: constants that are defined by each other"},
		{Bird, "define a;", `f:1: "define a": want define NAME = VALUE`},
		{Bird, "protocol bgp x { local 1.2.3.4 as y; }", `f:1: "local 1.2.3.4 as y": want a number behind as`},
		{Bird, "protocol bgp x {\n neighbor 1.2.3; }", `f:2: "neighbor 1 . 2 . 3": "1" is no address`},
		{Bird, "protocol bgp x { hold time; }", `f:1: "hold time": want one number`},
		{Bird, "protocol bgp x { ipv4 { import filter y; }; }", `f:1: there is no filter "y"`},
		{Bird, "protocol kernel { kernel table x; ipv4; }", `f:1: "kernel table x": want one number`},
		{Bird, "protocol static { ipv4; route 1.2.3.4 via 5.6.7.8; }", `f:1: "route 1.2.3.4 via 5.6.7.8": want route PREFIX ...`},
		{Bird, "protocol pipe { table x; }", `f:1: "protocol pipe": a pipe needs table and peer table`},
		{Bird, `protocol bfd { interface "x" { interval 5; }; }`, `f:1: "interval 5": want a time such as 100 ms`},
		{Bird, strings.Repeat("a {", 70), "f:1: blocks are nested more than 64 deep"},
		{Radvd, "interface {};", `f:1: "interface": want interface NAME { ... }`},
		{Radvd, "interface x {\nprefix 1.2.3.0/24 {}; };", `f:2: "prefix 1.2.3.0/24": want prefix PREFIX`},
		{Radvd, "interface x { MaxRtrAdvInterval y; };", `f:1: "MaxRtrAdvInterval y": want seconds`},
		{Ndppd, "proxy x {", "f:1: the block that begins here does not end"},
		{Ndppd, "proxy x { rule y { } }", `f:1: "rule y": want rule PREFIX`},
		{Ndppd, "proxy x", `f:1: "proxy x": want proxy INTERFACE { ... }`},
		{Dnsmasq, "\n=x", `f:2: "=x": want KEY or KEY=VALUE`},
		{Dnsmasq, `domain="x`, "f:1: the string on this line does not end"},
		{Dnsmasq, "dhcp-option=3,x", `f:1: "dhcp-option=3,x": "x" is no address`},
		{Dnsmasq, "dhcp-range=x", `f:1: "dhcp-range=x": want dhcp-range=ADDRESS,...`},
		{IP, "", "f:1: the file is empty: want the output of ip -j"},
		{IP, "[]\n{", "f:1: want the output of ip -j, lists in JSON: unexpected EOF"},
		{IP, "1: lo", "f:1: want the output of ip -j, lists in JSON: json: cannot unmarshal number into Go value of type []convert.object"},
		{"quagga", "", `f: files of kind "quagga" are not known`},
	} {
		r, err := Convert([]Source{{c.kind, "f", c.text}})
		var e *Error
		if !errors.As(err, &e) || err.Error() != c.want || r != nil {
			t.Errorf("%s %q: %v, want %s", c.kind, c.text, err, c.want)
		}
	}
}

// TestUnfit: what YAML cannot have is not written, and not dropped in silence.
func TestUnfit(t *testing.T) {
	r, err := Convert([]Source{{Bird, "f", "protocol bgp x { local 1.2.3.4 as 5; neighbor 1.2.3.5 as 5; interface \"e\rf\"; password \"p\x81\"; ipv4 { import all; export all; }; }"},
		{Radvd, "r", "interface v { AdvSendAdvert on; DNSSL \"a\x01b\" {}; };"}})
	if err != nil {
		t.Fatal(err)
	}
	var any any
	if err := yaml.Unmarshal(r.YAML, &any); err != nil {
		t.Errorf("%v\n%s", err, r.YAML)
	}
	for _, key := range []string{"interface", "md5", "search"} {
		if !strings.Contains(string(r.YAML), "FILL-IN-the-"+key) || !slices.ContainsFunc(r.Gaps, func(g Gap) bool { return !g.Note && strings.HasPrefix(g.Text, key+": ") }) {
			t.Errorf("%s: want it to be filled in:\n%s", key, r.YAML)
		}
	}
}

// TestNumbers: BIRD's arithmetic, where it takes numbers.
func TestNumbers(t *testing.T) {
	text := `define minutes = 60; define ours = (64000 + 1000);
protocol bfd { interface "*" { interval (2 * 25) ms; multiplier 2 + 1; }; }
protocol bgp x { local 1.2.3.4 as ours; neighbor 1.2.3.5 as (ours + 0x2); interface "e"; hold time 2 * minutes - 30 s; bfd on; ipv4 { import all; export all; }; }`
	r, err := Convert([]Source{{Bird, "f", text}})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"\nas: 65000\n", "as: 65002\n", "hold-time: 90s", "interval: 50ms", "multiplier: 3"} {
		if !strings.Contains(string(r.YAML), want) {
			t.Errorf("want %q in\n%s", want, r.YAML)
		}
	}
	for _, bad := range []string{"", "1 -", "1 - 2", "1 / 0", "65536 * 65536", "4294967295 + 1", "(1", "1)", "()", strings.Repeat("(", 100) + "1", "x", `"1"`} {
		if _, err := Convert([]Source{{Bird, "f", "protocol bgp x { hold time " + bad + "; }"}}); err == nil {
			t.Errorf("hold time %s is taken", bad)
		}
	}
}

// TestSecret: a key is in the configuration, and in nothing that is printed beside it.
func TestSecret(t *testing.T) {
	r, err := Convert([]Source{{Bird, "f", `protocol bgp x { local 1.2.3.4 as 5; neighbor 1.2.3.5 as 5; interface "e"; password "hunter2"; keys { key 1 { password "hunter2"; }; }; bfd { authentication simple; password "hunter2" { id 1; }; }; ipv4 { import all; export all; }; }`}})
	if err != nil {
		t.Fatal(err)
	}
	head, body, _ := strings.Cut(string(r.YAML), "router-id:")
	if strings.Contains(head, "hunter2") || !strings.Contains(body, "md5: hunter2") {
		t.Errorf("%s", r.YAML)
	}
	for _, g := range r.Gaps {
		if strings.Contains(g.String(), "hunter2") {
			t.Error(g)
		}
	}
}

// samples are those that Debian's packages bring.
var samples = map[string]Kind{
	"/etc/bird/bird.conf":                                       Bird,
	"/usr/share/doc/radvd/examples/radvd.conf.example":          Radvd,
	"/usr/share/doc/radvd/examples/simple-radvd.conf":           Radvd,
	"/usr/share/doc/ndppd/ndppd.conf-dist":                      Ndppd,
	"/usr/share/doc/dnsmasq-base/examples/dnsmasq.conf.example": Dnsmasq,
}

// TestDebianSamples reads the samples, as they are and without the marks that make comments of
// their examples: nothing in them is malformed.
func TestDebianSamples(t *testing.T) {
	for file, kind := range samples {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if errors.Is(err, os.ErrNotExist) {
				t.Skipf("the package of %s is not installed", file)
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, text := range []string{string(data), examples(kind, string(data))} {
				r, err := Convert([]Source{{kind, filepath.Base(file), text}})
				if err != nil {
					t.Fatal(err)
				}
				t.Logf("%s", r.YAML)
			}
		})
	}
}

// examples takes the marks of comments from the lines that are no prose.
func examples(kind Kind, text string) string {
	if kind != Dnsmasq {
		return text
	}
	var b strings.Builder
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, "#"); ok && rest != "" && rest[0] >= 'a' && rest[0] <= 'z' {
			line = rest
		}
		b.WriteString(line)
	}
	return b.String()
}
