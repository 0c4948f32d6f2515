package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// bench is one call of the program.
type bench struct {
	ns      string
	profile string
	results map[string]map[string]result // row, reflector
}

// measure runs the rows against each of the reflectors in turn.
func (b *bench) measure(peers []string, only string, repeat int) {
	todo := rows
	if only != "" {
		todo = slices.DeleteFunc(slices.Concat(rows, scaleRows), func(r row) bool { return !slices.Contains(strings.Split(only, ","), r.name) })
	}
	for _, r := range todo {
		b.results[r.name] = map[string]result{}
		for range repeat {
			for _, k := range kinds {
				if !slices.Contains(peers, k.name) || !k.available() {
					continue
				}
				res := b.once(k, r)
				fmt.Fprintf(os.Stderr, "%-9s %-9s %s\n", r.name, k.name, res)
				if old, ok := b.results[r.name][k.name]; !ok || old.Err != "" || res.Err == "" && res.CPU < old.CPU {
					b.results[r.name][k.name] = res
				}
			}
		}
	}
}

func (b *bench) once(k kind, r row) (res result) {
	profile := ""
	if b.profile != "" && k.name == "hyperfib" {
		profile = filepath.Join(b.profile, r.name+".pprof")
	}
	d, err := start(k, b.ns, profile)
	if d != nil {
		defer d.stop()
	}
	if err != nil {
		return result{Err: err.Error()}
	}
	t := &trial{d: d}
	if err := r.run(t); err != nil {
		t.res.Err = err.Error()
	}
	return t.res
}

// String returns wall seconds / CPU seconds / MiB, and what else there is.
func (r result) String() string {
	if r.Err != "" {
		return "failed: " + strings.TrimSpace(r.Err)
	}
	s := fmt.Sprintf("%.3f / %.2f / %.0f", r.Wall, r.CPU, r.RSS)
	if r.Updates > 0 {
		s += fmt.Sprintf(", %d UPDATEs", r.Updates)
	}
	if r.Note != "" {
		s += ", " + r.Note
	}
	return s
}

// report prints the table and reports whether ours missed a limit.
func (b *bench) report(w io.Writer) (failed bool) {
	fmt.Fprintf(w, "\nwall s / CPU s / resident MiB; in brackets CPU compared with BIRD's\n")
	for _, r := range slices.Concat(rows, scaleRows) {
		res, ok := b.results[r.name]
		if !ok {
			continue
		}
		fmt.Fprintf(w, "\n%s\n", r.title)
		bird, measured := res["bird"]
		if !measured {
			bird.Err = "not measured"
		}
		for _, k := range kinds {
			x, ok := res[k.name]
			if !ok {
				continue
			}
			line := fmt.Sprintf("  %-9s %v", k.name, x)
			if x.Err == "" && bird.Err == "" && bird.CPU > 0 {
				line += fmt.Sprintf("  [%.2fx]", x.CPU/bird.CPU)
			}
			if k.name == "hyperfib" {
				verdict := "ok"
				if x.Err != "" {
					verdict = "FAILED"
				} else if r.must == nil {
					verdict = ""
				} else if why := r.must(x, bird); why != "" {
					verdict = "MISSED: " + why
				}
				failed = failed || strings.Contains(verdict, "F") || strings.Contains(verdict, "M")
				line += "  " + verdict
			}
			fmt.Fprintln(w, line)
		}
	}
	return failed
}
