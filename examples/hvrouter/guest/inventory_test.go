package guest

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

func parse(t testing.TB, text string) []config.Entry {
	t.Helper()
	guests, err := config.ParseGuests("test", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return guests
}

// TestScenarios plays testdata/*.txt. The inputs:
//
//	admit SAMPLE [OLD=>NEW ...]          check guests against a sample, with changes (_ is a space)
//	host INTERFACE PREFIX|default|MAC    what the host has; counts from the next admit on
//	set config|directory|api GUESTS      all guests of a source, as YAML
//	put GUESTS, del NAME, down NAME, up NAME
//	keep                                 the moves of guests of files are written, and read by the next run
//	try                                  what is set next for the configuration is on trial, until settle config
//	settle config|directory              forget the moves that a source has overtaken
//	unsure                               the directory could not be read as a whole
//	lost                                 what is kept of guests that are missing
//	list
func TestScenarios(t *testing.T) {
	scenario.Files(t, "testdata/*.txt", func(t *testing.T, text string) (string, error) {
		return scenario.Play(text, &inventoryTest{})
	})
}

type inventoryTest struct {
	Inventory
	host config.Host
}

func (x *inventoryTest) Do(now time.Time, words []string) (out []string, err error) {
	rest := strings.Join(words[1:], " ")
	switch words[0] {
	case "admit":
		c, err := sample(words[1], words[2:])
		if err != nil {
			return nil, err
		}
		return said(x.Admit(c.Admission(x.host))...), nil
	case "host":
		x.know(words[1], words[2])
	case "set":
		source := Source(slices.Index([]string{"config", "directory", "api"}, words[1]))
		guests, err := config.ParseGuests("f", []byte(strings.Join(words[2:], " ")))
		if err != nil {
			return said(err), nil
		}
		return said(x.Replace(source, guests)...), nil
	case "put":
		guests, err := config.ParseGuests("request", []byte(rest))
		if err == nil {
			err = x.Put(guests...)
		}
		return said(err), nil
	case "del":
		return said(x.Remove(rest)), nil
	case "down":
		return nil, x.move(rest, true)
	case "up":
		return nil, x.move(rest, false)
	case "try":
		var before []config.Guest
		for _, e := range x.admitted[FromConfig] {
			before = append(before, e.Guest)
		}
		x.Try(before)
	case "unsure":
		x.Unsure(FromDirectory)
	case "lost":
		for _, m := range x.LostMoves() {
			out = append(out, fmt.Sprintf("%v, for %v", m.Moved, m.Until.Sub(now)))
		}
		if t := x.LostDeadline(FromDirectory); !t.IsZero() {
			out = append(out, fmt.Sprint("directory: look again in ", t.Sub(now)))
		}
		return out, nil
	case "settle":
		return x.settle(now, rest), nil
	case "keep": // as a file does
		data, err := EncodeMoves(x.Moves())
		if err != nil {
			return nil, err
		}
		list, err := DecodeMoves(data)
		x.SetMoves(list)
		return strings.Split(strings.TrimSpace(string(data)), "\n"), err
	case "list":
		return x.list(), nil
	default:
		return nil, fmt.Errorf("unknown word %q", words[0])
	}
	return nil, nil
}

// move moves a guest.
func (x *inventoryTest) move(name string, down bool) error {
	if !x.Move(name, &down, nil, time.Unix(1_800_000_000, 0).UTC()) {
		return fmt.Errorf("no guest %s", name)
	}
	return nil
}

// settle settles the moves of a source.
func (x *inventoryTest) settle(now time.Time, source string) (lines []string) {
	var s Source
	if err := s.UnmarshalText([]byte(source)); err != nil {
		panic(err)
	}
	ended, missed := x.SettleMoves(s, now)
	for _, m := range missed {
		lines = append(lines, "missed: "+m.String())
	}
	for _, m := range ended {
		lines = append(lines, "ended: "+m.String())
	}
	return lines
}

func (x *inventoryTest) know(link, what string) {
	if what == "default" {
		x.host.Default = append(x.host.Default, link)
	} else if p, err := netip.ParsePrefix(what); err == nil {
		x.host.Addresses = append(x.host.Addresses, config.HostAddress{Interface: link, Prefix: p})
	} else {
		var mac config.MAC
		if err := mac.UnmarshalText([]byte(what)); err != nil {
			panic(err)
		}
		x.host.MACs = map[string]config.MAC{link: mac}
	}
}

func (x *inventoryTest) list() (lines []string) {
	for _, g := range x.All() {
		_, source, _ := x.Find(g.Name)
		line := fmt.Sprintf("%s: %v %v %v", g.Name, source, g.IPv4, g.IPv6)
		if g.Down {
			line += " down"
		}
		if _, ok := x.Standing(source, g.Name); ok {
			line += ", moved"
		}
		lines = append(lines, line)
	}
	for s, r := range x.Refused {
		lines = append(lines, strings.ReplaceAll(fmt.Sprintf("refused (%v): %v", s, r.Why), "\n", "; "))
	}
	return lines
}

func said(errs ...error) (lines []string) {
	for _, err := range errs {
		if err != nil {
			lines = append(lines, strings.Split(err.Error(), "\n")...)
		}
	}
	return lines
}

func sample(file string, edits []string) (*config.Config, error) {
	data, err := os.ReadFile(filepath.Join("..", file))
	if err != nil {
		return nil, err
	}
	text, plain := string(data), strings.NewReplacer("_", " ", `\n`, "\n")
	for _, e := range edits {
		old, new, _ := strings.Cut(plain.Replace(e), "=>")
		if !strings.Contains(text, old) {
			return nil, fmt.Errorf("%s does not contain %q", file, old)
		}
		text = strings.Replace(text, old, new, 1)
	}
	return config.Parse(file, []byte(text), nil)
}

// TestPutMany: many guests are put as a whole. One that takes what belongs to another,
// also to another of the same request, refuses all of them; those that are replaced are
// in nobody's way, and guests may swap what they have.
func TestPutMany(t *testing.T) {
	var in Inventory
	in.Replace(FromConfig, parse(t, `[{name: vm1, ipv4: [203.0.113.1]}, {name: vm2, ipv4: [203.0.113.2]}]`))
	names := func() (out []string) {
		for _, g := range in.FromAPI() {
			out = append(out, g.Name+" "+g.IPv4[0].String())
		}
		return out
	}
	version := in.Version()
	for text, want := range map[string]string{
		`[{name: a, ipv4: [203.0.113.11]}, {name: b, ipv4: [203.0.113.2]}]`:                                "guest b: 203.0.113.2 belongs to guest vm2 (config)",
		`[{name: a, ipv4: [203.0.113.11]}, {name: b, ipv4: [203.0.113.11]}]`:                               "guest b: 203.0.113.11 belongs to guest a (api)",
		`[{name: a, ipv4: [203.0.113.11]}, {name: a, interface: x, ipv4: [203.0.113.12]}]`:                 "guest a: name a belongs to guest a (api)",
		`[{name: a, ipv4: [203.0.113.1]}, {name: b, ipv4: [203.0.113.2]}, {name: c, ipv4: [203.0.113.9]}]`: "guest a: 203.0.113.1 belongs to guest vm1 (config)\ntest:1:51: guest b: ",
	} {
		if err := in.Put(parse(t, text)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
		if got := names(); got != nil || in.Version() != version {
			t.Fatalf("%s: %v are there", text, got)
		}
	}
	if err := in.Put(parse(t, `[{name: a, ipv4: [203.0.113.11]}, {name: b, ipv4: [203.0.113.12]}]`)...); err != nil {
		t.Fatal(err)
	}
	old := in.Clone()
	if err := in.Put(parse(t, `[{name: b, ipv4: [203.0.113.11]}, {name: a, ipv4: [203.0.113.12]}]`)...); err != nil {
		t.Error("they cannot swap their addresses:", err)
	}
	if got := strings.Join(names(), ", "); got != "a 203.0.113.12, b 203.0.113.11" {
		t.Errorf("after the swap: %s", got)
	}
	if g, _, _ := old.Find("a"); g.IPv4[0].String() != "203.0.113.11" {
		t.Error("the clone has changed, too")
	}
	var many []config.Entry
	for range 30 {
		many = append(many, parse(t, `{name: vm1}`)...)
	}
	if err := in.Put(many...); err == nil || !strings.HasSuffix(err.Error(), "and 20 more") {
		t.Errorf("30 conflicts: %v", err)
	}
}
