package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api/apitest"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/journal"
)

// full is a daemon of which every answer has every field.
type full struct{ *backend }

func (b full) Sessions() []Session                   { return filled[[]Session]() }
func (b full) BFD() ([]BFD, error)                   { return filled[[]BFD](), b.fail }
func (b full) RIB(string, netip.Prefix) []RIBEntry   { return filled[[]RIBEntry]() }
func (b full) FIB(uint32) []FIBRoute                 { return filled[[]FIBRoute]() }
func (b full) Guests() []Guest                       { return filled[[]Guest]() }
func (b full) Neighbours() ([]Neighbour, error)      { return filled[[]Neighbour](), b.fail }
func (b full) Status() Status                        { return filled[Status]() }
func (b full) Diff() []Difference                    { return filled[[]Difference]() }
func (b full) Reload(ReloadOptions) (Reload, error)  { return filled[Reload](), b.fail }
func (b full) Drain(DrainOptions) (Drain, error)     { return filled[Drain](), b.fail }
func (b full) DrainStatus() Drain                    { return filled[Drain]() }
func (b full) Routes(string, bool) ([]Route, error)  { return filled[[]Route](), b.fail }
func (b full) Domains() []Domain                     { return filled[[]Domain]() }
func (b full) EVPN() []EVPN                          { return filled[[]EVPN]() }
func (b full) Drops() []Drop                         { return filled[[]Drop]() }
func (b full) Explain(Question) (Explanation, error) { return filled[Explanation](), b.fail }
func (b full) ExplainAddress(AddressQuestion) (AddressExplanation, error) {
	return filled[AddressExplanation](), b.fail
}
func (b full) ExplainMAC(MACQuestion) (MACExplanation, error) {
	return filled[MACExplanation](), b.fail
}
func (b full) History(journal.Filter) ([]journal.Event, error) {
	return filled[[]journal.Event](), b.fail
}

func filled[T any]() (v T) {
	fill(reflect.ValueOf(&v).Elem())
	return v
}

// fill gives each field, at any depth, a value that is not zero.
func fill(v reflect.Value) {
	switch p := v.Addr().Interface().(type) {
	case *time.Time:
		*p = time.Unix(1_800_000_000, 5)
		return
	case *netip.Addr:
		*p = netip.MustParseAddr("2001:db8::1")
		return
	case *netip.Prefix:
		*p = netip.MustParsePrefix("192.0.2.0/24")
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(true)
	case reflect.String:
		v.SetString("x")
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(7)
	case reflect.Float64:
		v.SetFloat(0.5)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i))
		}
	case reflect.Map:
		e := reflect.New(v.Type().Elem()).Elem()
		fill(e)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("k").Convert(v.Type().Key()), e)
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(v.Field(i))
			}
		}
	default:
		panic("a field of the kind " + v.Kind().String())
	}
}

// described is the document in the tree, against which answers are held.
type described struct {
	*apitest.Document
	seen map[string]bool // "GET /v1/status 200"
}

func readDescribed(t *testing.T) *described {
	d, err := apitest.Read(documentFile)
	if err != nil {
		t.Fatal(err)
	}
	return &described{d, map[string]bool{}}
}

// check holds an answer to a request against the document. o is nil for a path or a method that is none.
func (d *described) check(t *testing.T, o *operation, what string, code int, header http.Header, body []byte) {
	t.Helper()
	method, path := "", ""
	if o != nil {
		d.seen[o.pattern+" "+strconv.Itoa(code)] = true
		method, path = o.method(), o.target()
	}
	if err := d.Check(method, path, code, header, body); err != nil {
		t.Errorf("%s: %v", what, err)
	}
}

// operationOf returns the operation that a request is answered by, nil if it is none.
func operationOf(r *http.Request) *operation {
	mux := http.NewServeMux()
	register(&backend{}, mux.HandleFunc)
	_, pattern := mux.Handler(r)
	if i := slices.IndexFunc(operations, func(o operation) bool { return o.pattern == pattern }); i >= 0 {
		return &operations[i]
	}
	return nil
}

// ask has a daemon answer a request, and holds the answer against the document.
func (d *described) ask(t *testing.T, h http.Handler, method, path, body string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
	if len(path) > 80 {
		path = path[:80] + "..."
	}
	d.check(t, operationOf(httptest.NewRequest(method, path, nil)), method+" "+path, w.Code, w.Header(), w.Body.Bytes())
	return w
}

// example is a request of the operation that is answered.
func (o operation) example() (path, body string) {
	path = strings.NewReplacer("{peer}", "x", "{op}", "reset", "{name}", "x", "{profile}", "goroutine").Replace(o.target())
	switch o.pattern {
	case "GET /v1/explain":
		path += "?prefix=192.0.2.1"
	case "GET /v1/explain/address":
		path += "?address=192.0.2.1&vni=100"
	case "GET /v1/explain/mac":
		path += "?mac=02:00:00:00:00:01"
	case "GET /v1/routes":
		path += "?received=x"
	case "GET /debug/pprof/profile", "GET /debug/pprof/trace":
		path += "?seconds=0.01"
	case "POST /v1/guests", "PUT /v1/guests", "PUT /v1/guests/{name}":
		body = "{name: x}"
	case "POST /v1/guests/{name}":
		body = "{}"
	}
	return path, body
}

var unknownParameter = regexp.MustCompile(`there is no parameter \\"no-such\\" here, but (.*)no other`)

// TestOpenAPIAnswers: answers with every field and with none, and errors, are as the document
// describes them; what it describes happens: every status and every parameter.
func TestOpenAPIAnswers(t *testing.T) {
	d := readDescribed(t)
	for _, test := range statusTests() {
		d.ask(t, Handler(&backend{fail: test.fail}), test.method, test.path, test.body)
	}
	for i := range operations {
		o := &operations[i]
		path, body := o.example()
		if o.pattern == "GET "+eventsPath || strings.HasPrefix(path, "/debug/pprof/profile") || strings.HasPrefix(path, "/debug/pprof/trace") {
			continue // below, and in TestOpenAPIEvents
		}
		for _, fail := range []error{nil, errGone, errTaken} {
			b := &backend{fail: fail}
			for _, b := range []Backend{b, full{b}} {
				d.ask(t, Handler(b), o.method(), path, body)
			}
		}
		d.ask(t, (&Access{}).guard(Handler(&backend{})), o.method(), path, body)
		d.ask(t, Handler(&backend{}), o.method(), o.with(path, "a;b"), body)
		if o.method() != "GET" {
			d.ask(t, Handler(&backend{}), o.method(), path, strings.Repeat("x", config.MaxSize+1))
		}
		for _, p := range o.query {
			w := d.ask(t, Handler(&backend{}), o.method(), o.target()+"?"+p.name+"=", body)
			if empty := strings.Contains(w.Body.String(), "is empty"); empty == slices.Contains(mayBeEmpty, p.name) {
				t.Errorf("%s: %s= : %s", o.pattern, p.name, w.Body)
			}
		}
	}
	// The parameters of each resource are those that its own refusal names.
	for i := range operations {
		o := &operations[i]
		path, body := o.example()
		if o.unchecked() {
			continue
		}
		w := d.ask(t, Handler(&backend{}), o.method(), o.with(path, "no-such=1"), body)
		var want []string
		for _, p := range o.query {
			want = append(want, p.name)
		}
		var got []string
		if m := unknownParameter.FindStringSubmatch(w.Body.String()); m == nil {
			t.Errorf("%s: an unknown parameter: %s", o.pattern, w.Body)
		} else if m[1] != "" {
			got = strings.Split(strings.TrimSuffix(m[1], ", "), ", ")
		}
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s has the parameters %v, and %v are described", o.pattern, got, want)
		}
	}
	d.ask(t, Handler(&backend{}), "GET", "/v1/explain?prefix=192.0.2.1&from=nobody", "")
	d.ask(t, Handler(&backend{}), "GET", "/v1/explain/address?address=192.0.2.1&vni=404", "")
	d.ask(t, Handler(&backend{}), "GET", "/v1/explain/mac?mac=02:00:00:00:00:01&vni=404", "")
	for _, test := range []string{"rib?domain=x", "neighbours?guest=x", "firewall?kind=x", "bfd?peer=x", "evpn?mac=x"} {
		if w := d.ask(t, Handler(&backend{}), "GET", "/v1/"+test, ""); w.Code != http.StatusNotFound {
			t.Errorf("%s: %d", test, w.Code)
		}
	}
	// Those that take their time are refused, and not run.
	for _, path := range []string{"/debug/pprof/profile", "/debug/pprof/trace", eventsPath} {
		d.ask(t, (&Access{}).guard(Handler(&backend{})), "GET", path, "")
		d.ask(t, Handler(&backend{}), "GET", path+"?a;b", "")
	}
	for _, o := range operations {
		for _, code := range append(o.failures(), 200) {
			what := o.pattern + " " + strconv.Itoa(code)
			runs := code == 200 && (o.target() == eventsPath || strings.HasSuffix(o.target(), "/pprof/profile") || strings.HasSuffix(o.target(), "/pprof/trace"))
			if !d.seen[what] && code != http.StatusServiceUnavailable && !runs {
				t.Errorf("%s is described, and did not happen", what)
			}
		}
	}
}

// with adds to the query of a path.
func (o operation) with(path, query string) string {
	if strings.Contains(path, "?") {
		return path + "&" + query
	}
	return path + "?" + query
}

// TestOpenAPIEvents: the stream of events, and why there is none, are as the document describes them.
func TestOpenAPIEvents(t *testing.T) {
	d := readDescribed(t)
	b := &backend{}
	server := httptest.NewServer(Handler(b))
	for _, e := range []journal.Event{{}, filled[journal.Event]()} {
		b.journal.Publish(e)
		resp, err := http.Get(server.URL + eventsPath + "?recent=1")
		if err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(resp.Body).ReadBytes('\n')
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		d.check(t, operationOf(httptest.NewRequest("GET", eventsPath, nil)), "an event", resp.StatusCode, resp.Header, line)
	}
	server.Close() // waits for the handlers: each has a reader of the journal until it ends
	for {
		r, err := b.journal.Subscribe(0)
		if err != nil {
			break
		}
		defer r.Close()
	}
	if w := d.ask(t, Handler(b), "GET", eventsPath, ""); w.Code != http.StatusServiceUnavailable {
		t.Errorf("too many readers: %d", w.Code)
	}
	// One connection too many.
	mine, its := net.Pipe()
	go (&limited{}).refuse(its)
	resp, err := http.ReadResponse(bufio.NewReader(mine), nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for i := range operations {
		d.check(t, &operations[i], "one connection too many", resp.StatusCode, resp.Header, text)
	}
}

// TestOpenAPIAccess: readers may do what the document says that they may, and nothing else.
func TestOpenAPIAccess(t *testing.T) {
	d := readDescribed(t)
	access := &Access{}
	access.group.Store(&readers{"readers", 7})
	for _, o := range operations {
		path, _ := o.example()
		r := httptest.NewRequest(o.method(), path, nil)
		r = r.WithContext(context.WithValue(r.Context(), clientKey{}, client{uid: 4_000_000_000, groups: []uint32{7}}))
		want := d.At("paths", o.target(), strings.ToLower(o.method()))["x-access"]
		if err := access.check(r); (err == nil) != (want == "group") || want != "group" && want != "root" {
			t.Errorf("%s: for %v, says the document: %v", o.pattern, want, err)
		}
	}
}

// TestOpenAPIRequests: the bodies of requests that are taken fit the document, and those of requests with
// a field that is none do not.
func TestOpenAPIRequests(t *testing.T) {
	d := readDescribed(t)
	n := 0
	for _, test := range append(statusTests(),
		statusTest{"POST", "/v1/guests", `{"name": "a", "local-perf": 7}`, nil, 400, ""},
		statusTest{"POST", "/v1/guests", "{name: a, mac: '50:54:33:00:00:07', ipv4: [192.0.2.1], ipv6: ['2001:db8::/64'], transparent: [{address: 192.0.2.2, to: 192.0.2.1}], ra: {off: false, interval: 10s, dns: []}, discovery: {within: [192.0.2.0/24], maximum: 3}}", nil, 200, ""}) {
		o := operationOf(httptest.NewRequest(test.method, test.path, nil))
		if o == nil || o.body == nil || test.fail != nil || strings.HasPrefix(o.target(), "/v1/reload") {
			continue
		}
		misread := strings.Contains(test.body, "local-perf")
		if test.code != 200 && !misread {
			continue
		}
		text, err := yaml.YAMLToJSON([]byte(test.body))
		if err != nil {
			t.Fatal(err)
		}
		schema := d.At("paths", o.target(), strings.ToLower(o.method()), "requestBody", "content", "application/json", "schema")
		if err := d.Valid(schema, text); (err == nil) == misread {
			t.Errorf("%s %s: %s: %v", test.method, test.path, text, err)
		}
		n++
	}
	if n < 6 {
		t.Errorf("only %d bodies", n)
	}
}

// TestOpenAPIServed: the daemon serves the document of its sources.
func TestOpenAPIServed(t *testing.T) {
	w := httptest.NewRecorder()
	Handler(&backend{}).ServeHTTP(w, httptest.NewRequest("GET", "/v1/openapi.json", nil))
	want, err := os.ReadFile(documentFile)
	if err != nil || !bytes.Equal(w.Body.Bytes(), want) {
		t.Errorf("%d octets, and not the %d of %s: %v", w.Body.Len(), len(want), documentFile, err)
	}
}

// TestOpenAPINotices: a field that the document does not have, or one of another type, is noticed.
func TestOpenAPINotices(t *testing.T) {
	d := readDescribed(t)
	schema := d.At("paths", "/v1/explain", "get", "responses", "200", "content", "application/json", "schema")
	text, err := json.Marshal(filled[Explanation]())
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Valid(schema, text); err != nil {
		t.Error(err)
	}
	for _, wrong := range [][2]string{{`"prefix":"x"`, `"prefix":"x","new":1`}, {`"prefix":"x"`, `"prefix":1`}, {`"prefix":"x",`, ``}, {`"packet":"x"`, `"packet":"x","new":1`}, {`"usable":true`, `"usable":true,"new":1`}} {
		bad := strings.Replace(string(text), wrong[0], wrong[1], 1)
		if bad == string(text) {
			t.Errorf("no %s in %s", wrong[0], text)
		}
		if d.Valid(schema, []byte(bad)) == nil {
			t.Errorf("%s is valid", bad)
		}
	}
}
