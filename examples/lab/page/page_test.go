package page

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/hyperfib/hyperfib/examples/lab/experiment"
)

// TestRun: one experiment at a time is run, which exists, and which this page has asked for.
func TestRun(t *testing.T) {
	p := New([]experiment.Experiment{{Name: "cut"}, {Name: "kill"}}, map[string]string{"hv1": "/none"})
	ask := func(method, path, site string) int {
		r := httptest.NewRequest(method, path, nil)
		r.Header.Set("Sec-Fetch-Site", site)
		w := httptest.NewRecorder()
		p.ServeHTTP(w, r)
		return w.Code
	}
	for i, x := range []struct {
		method, path, site string
		want               int
	}{
		{"POST", "/run/cut", "cross-site", http.StatusForbidden},
		{"GET", "/run/cut", "same-origin", http.StatusNotFound},
		{"POST", "/run/none", "same-origin", http.StatusNotFound},
		{"POST", "/run/cut", "same-origin", http.StatusAccepted},
		{"POST", "/run/kill", "same-origin", http.StatusConflict},
		{"GET", "/", "none", http.StatusOK},
		{"GET", "/hv1/", "same-origin", http.StatusOK},
		{"GET", "/hv2/", "same-origin", http.StatusNotFound},
	} {
		if got := ask(x.method, x.path, x.site); got != x.want {
			t.Errorf("%d: %s %s: %d, want %d", i, x.method, x.path, got, x.want)
		}
	}
	if a := <-p.Wanted(); a.Name != "cut" {
		t.Errorf("%s is wanted", a.Name)
	}
	p.Done()
	if got := ask("POST", "/run/kill", "same-origin"); got != http.StatusAccepted {
		t.Errorf("the next one: %d", got)
	}
}

// TestBegin: while the experiments are run that the lab begins with, their output is there, and no other is run.
func TestBegin(t *testing.T) {
	p := New([]experiment.Experiment{{Name: "cut"}}, nil)
	ask := func(method, path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		p.ServeHTTP(w, httptest.NewRequest(method, path, nil))
		return w
	}
	for _, name := range []string{"sessions", "fibs"} {
		p.Begin(experiment.Experiment{Name: name})
		if got := ask("GET", "/lab").Body.String(); !strings.Contains(got, `"busy":"`+name+`"`) {
			t.Error(got)
		}
		if w := ask("POST", "/run/cut"); w.Code != http.StatusConflict {
			t.Errorf("%d: %s", w.Code, w.Body)
		}
	}
	p.Done()
	if w := ask("POST", "/run/cut"); w.Code != http.StatusAccepted {
		t.Errorf("%d: %s", w.Code, w.Body)
	}
}

// TestLines: output comes in pieces, and the last lines of it are kept.
func TestLines(t *testing.T) {
	p := New(nil, nil)
	for i := range 3 * maxLines {
		fmt.Fprint(p, "line ")
		fmt.Fprintf(p, "%d\nand\n", i)
	}
	fmt.Fprint(p, "more")
	w := httptest.NewRecorder()
	p.ServeHTTP(w, httptest.NewRequest("GET", "/lab", nil))
	var got struct{ Lines []string }
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("line %d\nand\nmore", 3*maxLines-1); len(got.Lines) != maxLines || !strings.HasSuffix(strings.Join(got.Lines, "\n"), want) {
		t.Errorf("%d lines, the last %q", len(got.Lines), got.Lines[len(got.Lines)-3:])
	}
}
