// Package page is the page of a lab that stays up: the pages of its hypervisors side by side, and a button for
// each experiment.
package page

import (
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/hvrouter/web"
	"github.com/hyperfib/hyperfib/examples/lab/experiment"
)

//go:embed static
var files embed.FS

// maxLines is how many lines of the experiments' output are kept.
const maxLines = 200

// Page is an http.Handler, and where the output of the experiments goes. It is safe for concurrent use.
type Page struct {
	http.Handler
	experiments []experiment.Experiment
	routers     []string
	wanted      chan experiment.Experiment

	mu    sync.Mutex
	busy  string   // the experiment that is run, or was asked for
	lines []string // the last one is not complete
}

// New makes the page of a lab: experiments are those that it offers, and routers the API sockets of its
// hypervisors, by name.
func New(experiments []experiment.Experiment, routers map[string]string) *Page {
	p := &Page{experiments: experiments, routers: slices.Sorted(maps.Keys(routers)), wanted: make(chan experiment.Experiment, 1), lines: []string{""}}
	static, err := fs.Sub(files, "static")
	if err != nil {
		panic(err) // the directory is in the binary
	}
	mux := http.NewServeMux()
	mux.Handle("GET /", http.FileServerFS(static))
	mux.HandleFunc("GET /lab", p.lab)
	mux.HandleFunc("POST /run/{name}", p.run)
	for name, socket := range routers {
		mux.Handle("GET /"+name+"/", http.StripPrefix("/"+name, web.Handler(name, api.NewClient(socket))))
	}
	// No other site may have a browser run experiments.
	p.Handler = web.Guarded(http.NewCrossOriginProtection().Handler(mux))
	return p
}

// Wanted is received from when an experiment is to be run. [Page.Done] follows.
func (p *Page) Wanted() <-chan experiment.Experiment { return p.wanted }

// Begin says that an experiment is run that nobody has asked for here: one of those that a lab begins with. Until
// [Page.Done], after the last of them, none can be asked for.
func (p *Page) Begin(a experiment.Experiment) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.busy = a.Name
}

// Done says that the experiment has ended.
func (p *Page) Done() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.busy = ""
}

// Write takes the experiments' output.
func (p *Page) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	more := strings.Split(string(b), "\n")
	p.lines[len(p.lines)-1] += more[0]
	p.lines = append(p.lines, more[1:]...)
	p.lines = p.lines[max(0, len(p.lines)-maxLines):]
	return len(b), nil
}

// lab answers with the state of the lab.
func (p *Page) lab(w http.ResponseWriter, _ *http.Request) {
	type button struct {
		Name  string `json:"name"`
		Title string `json:"title"`
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	v := struct {
		Experiments []button `json:"experiments"`
		Routers     []string `json:"routers"`
		Busy        string   `json:"busy"` // "": none is run
		Lines       []string `json:"lines"`
	}{Routers: p.routers, Busy: p.busy, Lines: p.lines}
	for _, a := range p.experiments {
		v.Experiments = append(v.Experiments, button{a.Name, a.Title})
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

// run has an experiment run, if none is.
func (p *Page) run(w http.ResponseWriter, r *http.Request) {
	i := slices.IndexFunc(p.experiments, func(a experiment.Experiment) bool { return a.Name == r.PathValue("name") })
	if i < 0 {
		http.Error(w, "this lab has no such experiment", http.StatusNotFound)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.busy != "" {
		http.Error(w, fmt.Sprintf("%s is being run", p.busy), http.StatusConflict)
		return
	}
	p.busy = p.experiments[i].Name
	p.wanted <- p.experiments[i] // there is room: the one before was received before it was done
	w.WriteHeader(http.StatusAccepted)
}
