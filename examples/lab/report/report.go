// Package report keeps the verdicts of a run and prints them, for people and as
// JSON.
package report

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
)

// Verdicts.
const (
	Pass     = "pass"
	Fail     = "fail"
	Measured = "measured" // there is no limit to hold it against
	Degraded = "degraded" // what a foreign program cannot do
	Void     = "void"     // failed while the machine stood still, and was tried again
)

// Result is one measured value of one experiment.
type Result struct {
	Experiment string `json:"experiment"`
	Name       string `json:"name"`
	Value      Number `json:"value"`
	// Limit is the most (or with Least the least) that Value may be; none means
	// that the value is only measured.
	Limit   *Number `json:"limit"`
	Least   bool    `json:"least,omitempty"`
	Unit    string  `json:"unit"`
	Verdict string  `json:"verdict"`
	Detail  string  `json:"detail,omitempty"` // one line
	// Why is what differed, printed when the experiment failed.
	Why string `json:"why,omitempty"`
}

// Number prints without a tail of decimals that nobody measured.
type Number float64

// MarshalJSON implements json.Marshaler. What is not a number is null.
func (n Number) MarshalJSON() ([]byte, error) {
	if math.IsNaN(float64(n)) || math.IsInf(float64(n), 0) {
		return []byte("null"), nil
	}
	return []byte(n.String()), nil
}

// String returns at most three decimals.
func (n Number) String() string {
	if math.IsNaN(float64(n)) {
		return "-"
	}
	s := fmt.Sprintf("%.3f", float64(n))
	return strings.TrimRight(strings.TrimRight(s, "0"), ".")
}

// AtMost returns a limit for [Result.Limit].
func AtMost(v float64) *Number { n := Number(v); return &n }

// Judge fills in the verdict, unless there is one already.
func (r *Result) Judge() {
	switch {
	case r.Verdict != "":
	case r.Limit == nil:
		r.Verdict = Measured
	case math.IsNaN(float64(r.Value)),
		!r.Least && r.Value > *r.Limit,
		r.Least && r.Value < *r.Limit:
		r.Verdict = Fail
	default:
		r.Verdict = Pass
	}
}

// String is the line of the result in the list of verdicts.
func (r Result) String() string {
	limit := ""
	if r.Limit != nil {
		sign := "<="
		if r.Least {
			sign = ">="
		}
		limit = fmt.Sprintf("%s %s", sign, r.Limit)
	}
	s := fmt.Sprintf("%-9s %-44s %10s %-5s %-8s %s", r.Verdict, r.Name, r.Value, r.Unit, limit, r.Detail)
	return strings.TrimRight(s, " ")
}

// Report collects results. The zero value is ready to use.
type Report struct {
	Config  map[string]string `json:"config,omitempty"`
	Results []Result          `json:"results"`
	Seconds Number            `json:"seconds"`
	Verdict string            `json:"verdict"`
}

// Add judges a result, keeps it and returns it.
func (r *Report) Add(res Result) Result {
	res.Judge()
	r.Results = append(r.Results, res)
	return res
}

// Failed returns the results that failed.
func (r *Report) Failed() []Result {
	var out []Result
	for _, res := range r.Results {
		if res.Verdict == Fail {
			out = append(out, res)
		}
	}
	return out
}

// Write writes the report as JSON to a file.
func (r *Report) Write(path string) error {
	r.Verdict = Pass
	if len(r.Failed()) > 0 {
		r.Verdict = Fail
	}
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}

// Indent writes text with a margin, for what a failed experiment has to say.
func Indent(w io.Writer, text string) {
	for l := range strings.Lines(strings.TrimRight(text, "\n") + "\n") {
		fmt.Fprintf(w, "          %s", l)
	}
}
