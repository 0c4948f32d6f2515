package convert

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/lab/conf"
	"github.com/hyperfib/hyperfib/examples/lab/plan"
)

// fuzz wants of any text of a kind: an error with the file's name, or a result that is YAML, in which
// check finds nothing wrong if it is said to be complete.
func fuzz(f *testing.F, kind Kind, beside ...Source) {
	cases, err := filepath.Glob("testdata/cases/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range cases {
		a, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for _, part := range a.Files {
			if kindOf(part.Name) == kind {
				f.Add(string(part.Data))
			}
		}
	}
	for file, k := range samples {
		if data, err := os.ReadFile(file); err == nil && k == kind {
			f.Add(string(data))
			f.Add(examples(kind, string(data)))
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := Convert(append([]Source{{kind, "f", text}}, beside...))
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || !strings.HasPrefix(err.Error(), "f:") || strings.Contains(err.Error(), "\n") {
				t.Fatalf("%q is no error of the file", err)
			}
			return
		}
		var any any
		if err := yaml.Unmarshal(r.YAML, &any); err != nil {
			t.Fatalf("%v\n%s", err, r.YAML)
		}
		if _, err := config.Parse("f", r.YAML, config.TableNames{}); err != nil && r.Complete() {
			t.Fatalf("%v\n%s", err, r.YAML)
		}
	})
}

func FuzzBird(f *testing.F) {
	f.Add(conf.BirdHypervisor(1, timing))
	f.Add(conf.BirdEdge(timing, 2))
	f.Add(conf.BirdReflector(plan.A, false, timing))
	f.Add(conf.BirdTor(routed.UnderlayRouters()[4], true, routed))
	f.Add(conf.Bird1Reflector(plan.B, true, 4, timing))
	f.Add(bird1(1, 4).Text)
	fuzz(f, Bird)
}

func FuzzBird6(f *testing.F) {
	f.Add(bird1(1, 6).Text)
	fuzz(f, Bird6, bird1(1, 4))
}

func FuzzRadvd(f *testing.F) {
	f.Add(beside(1)[0].Text)
	fuzz(f, Radvd, Source{Bird, "bird.conf", conf.BirdHypervisor(1, timing)})
}

func FuzzNdppd(f *testing.F) {
	f.Add(beside(1)[1].Text)
	fuzz(f, Ndppd, Source{Bird, "bird.conf", conf.BirdHypervisor(1, timing)}, beside(1)[0])
}

func FuzzDnsmasq(f *testing.F) {
	f.Add(beside(1)[2].Text)
	fuzz(f, Dnsmasq, Source{Bird, "bird.conf", conf.BirdHypervisor(1, timing)}, beside(1)[0])
}

func FuzzIP(f *testing.F) {
	f.Add(printed(f, 1).Text)
	f.Add(printed(f, 3).Text)
	fuzz(f, IP, Source{Bird, "bird.conf", conf.BirdHypervisor(1, timing)})
}
