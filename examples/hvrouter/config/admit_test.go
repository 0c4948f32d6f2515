package config

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

// TestGuests plays testdata/guests/*.txt. The inputs:
//
//	admit SAMPLE [OLD=>NEW ...]          check guests against a sample, with changes (_ is a space)
//	host INTERFACE PREFIX|default|MAC    what the host has; counts from the next admit on
//	put GUESTS, del NAME                 those with a problem are left out
//	free PREFIX                          whether it may be found
//	list
func TestGuests(t *testing.T) {
	scenario.Files(t, "testdata/guests/*.txt", func(t *testing.T, text string) (string, error) {
		return scenario.Play(text, &guestTest{here: map[string]Guest{}})
	})
}

type guestTest struct {
	*Admission
	Claims
	known Host
	here  map[string]Guest
}

// Do implements [scenario.Machine].
func (x *guestTest) Do(_ time.Time, words []string) (out []string, err error) {
	rest := strings.Join(words[1:], " ")
	switch words[0] {
	case "admit":
		c, err := edited(words[1], words[2:])
		if err != nil {
			return nil, err
		}
		x.Admission = c.Admission(x.known)
	case "host":
		x.know(words[1], words[2])
	case "put":
		guests, err := ParseGuests("request", []byte(rest))
		if err != nil {
			return strings.Split(err.Error(), "\n"), nil
		}
		for _, e := range guests {
			out = append(out, x.put(e)...)
		}
		return out, nil
	case "del":
		x.Claims.Remove(x.here[rest], rest)
		delete(x.here, rest)
	case "free":
		return []string{fmt.Sprint(x.Free(netip.MustParsePrefix(rest)))}, nil
	case "list":
		for name, g := range x.here {
			out = append(out, fmt.Sprintf("%s: %v %v", name, g.IPv4, g.IPv6))
		}
		slices.Sort(out)
		return out, nil
	default:
		return nil, fmt.Errorf("unknown word %q", words[0])
	}
	return nil, nil
}

func (x *guestTest) put(e Entry) []string {
	old, had := x.here[e.Name]
	if had {
		x.Claims.Remove(old, e.Name)
	}
	if errs := e.Errors(append(x.Admission.Check(e.Guest), x.Claims.Check(e.Guest)...)); len(errs) > 0 {
		if had {
			x.Claims.Add(old, e.Name)
		}
		return strings.Split(errs.Error(), "\n")
	}
	x.Claims.Add(e.Guest, e.Name)
	x.here[e.Name] = e.Guest
	return nil
}

func (x *guestTest) know(link, what string) {
	if what == "default" {
		x.known.Default = append(x.known.Default, link)
	} else if p, err := netip.ParsePrefix(what); err == nil {
		x.known.Addresses = append(x.known.Addresses, HostAddress{Interface: link, Prefix: p})
	} else {
		var mac MAC
		if err := mac.UnmarshalText([]byte(what)); err != nil {
			panic(err)
		}
		x.known.MACs = map[string]MAC{link: mac}
	}
}

// edited reads a sample, with changes OLD=>NEW in which _ is a space.
func edited(file string, edits []string) (*Config, error) {
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
	return Parse(file, []byte(text), nil)
}

// A guest's errors are where it stands, with and without its document.
func TestEntryPlaces(t *testing.T) {
	list, err := ParseGuests("f", []byte("- name: a\n- name: b\n  ipv4: [203.0.113.1, 203.0.113.2]\n"))
	if err != nil {
		t.Fatal(err)
	}
	problems := []Problem{{Field: ".ipv4[1]", Msg: "x"}, {Field: ".mac", Msg: "y"}, {Msg: "z"}}
	for brief, want := range map[bool]string{
		false: "f:3:23: x\nf:2:3: y\nf:2:3: z",
		true:  "f:2:3: x\nf:2:3: y\nf:2:3: z",
	} {
		e := list[1]
		if brief {
			e = e.Brief().Brief()
		}
		if got := e.Errors(problems).Error(); got != want {
			t.Errorf("brief %v: %s", brief, got)
		}
	}
	if got := (Entry{}).Errors(problems[:1]).Error(); got != "x" {
		t.Errorf("from nowhere: %s", got)
	}
	c := sample(t)
	text, err := os.ReadFile(filepath.Join("..", "hv1.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	before, _, _ := strings.Cut(string(text), "    table: 20\n")
	if got, want := c.Where(c.DomainPath("private")+".table"), fmt.Sprintf("hv1.yaml:%d:12: ", 1+strings.Count(before, "\n")); got != want {
		t.Errorf("the private table is at %q, want %q", got, want)
	}
	if c.Forget(); c.Where("$.as") != "" {
		t.Error("places of a document that is gone")
	}
	if e := c.Entries()[1]; e.Name != "vm2" || e.Errors(problems[:1]).Error() != "hv1.yaml: x" {
		t.Errorf("%v", e.Errors(problems[:1]))
	}
}
