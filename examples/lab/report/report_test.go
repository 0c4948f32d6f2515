package report

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		r    Result
		want string
	}{
		{Result{Value: 3}, Measured},
		{Result{Value: 3, Limit: AtMost(3)}, Pass},
		{Result{Value: 3.1, Limit: AtMost(3)}, Fail},
		{Result{Value: 3, Limit: AtMost(4), Least: true}, Fail},
		{Result{Value: 4, Limit: AtMost(4), Least: true}, Pass},
		{Result{Value: Number(math.NaN()), Limit: AtMost(4)}, Fail},
		{Result{Value: 3, Limit: AtMost(4), Verdict: Fail}, Fail},
	} {
		c.r.Judge()
		if c.r.Verdict != c.want {
			t.Errorf("%+v, want %s", c.r, c.want)
		}
	}
}

func TestNumber(t *testing.T) {
	for v, want := range map[Number]string{0: "0", 520: "520", 502.005: "502.005", 1.5: "1.5", 0.66666: "0.667", 100: "100"} {
		if v.String() != want {
			t.Errorf("%s, want %s", v, want)
		}
	}
}

func TestWrite(t *testing.T) {
	var r Report
	r.Add(Result{Experiment: "cut", Name: "gap", Value: 502, Limit: AtMost(520), Unit: "ms"})
	r.Add(Result{Experiment: "kill", Name: "lost", Value: 7, Limit: AtMost(0), Why: "vm1>vm3"})
	r.Add(Result{Experiment: "kill", Name: "strange", Value: Number(math.Inf(1))})
	path := filepath.Join(t.TempDir(), "lab.json")
	if err := r.Write(path); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var back struct {
		Verdict string
		Results []struct {
			Experiment, Name, Unit, Verdict string
			Value, Limit                    *float64
		}
	}
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	if back.Verdict != Fail || len(back.Results) != 3 || *back.Results[0].Value != 502 || *back.Results[0].Limit != 520 ||
		back.Results[1].Verdict != Fail || back.Results[2].Value != nil || back.Results[2].Limit != nil {
		t.Errorf("%s", b)
	}
}

// Without a terminal nothing but the output appears.
func TestScreenPlain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if terminal(f) {
		t.Error("a file is no terminal")
	}
	s := NewScreen(f, func() string { t.Error("asked for a table"); return "" })
	for _, line := range []string{"one\n", "two", "\n"} {
		if _, err := s.Write([]byte(line)); err != nil {
			t.Fatal(err)
		}
	}
	s.Close()
	if b, _ := os.ReadFile(path); string(b) != "one\ntwo\n" {
		t.Errorf("%q", b)
	}
}

func TestScreenErases(t *testing.T) {
	var b strings.Builder
	s := &Screen{out: &b, rows: 3}
	_, _ = s.Write([]byte("line\n"))
	_, _ = s.Write([]byte("more\n"))
	if b.String() != "\x1b[3A\x1b[Jline\nmore\n" || s.mid {
		t.Errorf("%q, in the middle of a line %v", b.String(), s.mid)
	}
	if _, _ = s.Write([]byte("half a")); !s.mid {
		t.Error("the table would be drawn in the middle of a line")
	}
	if _, _ = s.Write(nil); s.mid {
		t.Error("nothing is written, yet a line is open")
	}
}
