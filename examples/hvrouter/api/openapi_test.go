package api

import (
	"cmp"
	"encoding"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"net/http"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/journal"
	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

// operation is what is said of one pattern that [register] has.
type operation struct {
	pattern string // of http.ServeMux
	path    string // of the document, "" if it is the pattern's
	summary string
	root    bool // not for readers
	query   []parameter
	body    *body
	// answer is a value of the type that a success has, or a text type such as text/plain.
	answer any
	media  string // of the answer, "" is application/json
	// codes are those of errors besides 400, 403 and 503, which every request may have.
	codes []int
}

type parameter struct {
	name, description string
	schema            *jsonschema.Schema
	required          bool
}

type body struct {
	media       []string
	description string
	schema      *jsonschema.Schema
	required    bool
}

var (
	stringType = &jsonschema.Schema{Type: "string"}
	countType  = &jsonschema.Schema{Type: "integer", Minimum: jsonschema.Ptr(0.0)}
	boolType   = &jsonschema.Schema{Type: "boolean", Default: json.RawMessage("false")}
	timeType   = &jsonschema.Schema{Type: "string", Format: "date-time"}
)

// Parameters that several operations have.
var (
	peerFilter      = parameter{name: "peer", description: "Only this peer, by its address or its name.", schema: stringType}
	interfaceFilter = parameter{name: "interface", description: "Only this interface.", schema: stringType}
	guestFilter     = parameter{name: "guest", description: "Only this guest, by its name.", schema: stringType}
	prefixFilter    = parameter{name: "prefix", description: "Only this prefix; an address is the prefix of it alone.", schema: stringType}
	eventFilter     = parameter{name: "event", description: "Only events with such a name: a pattern such as bgp-*. Empty: all.", schema: stringType}
)

var (
	guestBody = &body{media: []string{"application/json", "application/yaml"}, description: "At most 1 MiB. YAML as in the configuration file, of which JSON is a part.", required: true,
		schema: &jsonschema.Schema{OneOf: []*jsonschema.Schema{ref("GuestRequest"), {Type: "array", Items: ref("GuestRequest")}}}}
	oneGuestBody = &body{media: guestBody.media, description: guestBody.description, required: true, schema: ref("GuestRequest")}
	moveBody     = &body{media: []string{"application/json"}, description: "At most 1 MiB.", required: true, schema: ref("Move")}
	reloadBody   = &body{media: []string{"application/yaml"}, description: "The configuration, if the parameter file is given; at most 4 MiB. docs/configuration.md describes it.", schema: stringType}
)

// operations are the API. Each answers 400, 403 and 503, too.
var operations = []operation{
	{pattern: "GET /v1/sessions", summary: "BGP sessions.", query: []parameter{peerFilter, {name: "domain", description: "Only sessions of this domain.", schema: stringType}, interfaceFilter}, answer: []Session{}, codes: []int{404}},
	{pattern: "POST /v1/sessions/{peer}/{op}", summary: "Reset, disable or enable the sessions with a peer. What is disabled stays so over restarts.", root: true, query: []parameter{
		{name: "text", description: "For the peer, and for people here (RFC 9003, Section 2): at most 255 octets.", schema: &jsonschema.Schema{Type: "string", MaxLength: jsonschema.Ptr(maxText)}},
		{name: "hard", description: "Of a reset: neither side keeps routes.", schema: boolType}}, answer: Done{}, codes: []int{404, 409, 413}},
	{pattern: "GET /v1/bfd", summary: "BFD sessions.", query: []parameter{peerFilter, interfaceFilter}, answer: []BFD{}, codes: []int{404, 500}},
	{pattern: "GET /v1/rib", summary: "Prefixes, and where they are known from.", query: []parameter{{name: "domain", description: "Only this domain.", schema: stringType}, prefixFilter}, answer: []RIBEntry{}, codes: []int{404}},
	{pattern: "GET /v1/fib", summary: "Routes that are desired, or are ours in the kernel.", query: []parameter{{name: "table", description: "Only this table: its number or name, or that of its domain.", schema: stringType}, prefixFilter}, answer: []FIBRoute{}, codes: []int{404}},
	{pattern: "GET /v1/routes", summary: "What a peer has announced (Adj-RIB-In) or is sent (Adj-RIB-Out): either received or advertised must be given.", query: []parameter{
		{name: "received", description: "The peer, by its address or its name.", schema: stringType}, {name: "advertised", description: "The peer, by its address or its name.", schema: stringType},
		{name: "prefix", description: "Only routes of a prefix that contains this prefix or address.", schema: stringType}}, answer: []Route{}, codes: []int{404, 409}},
	{pattern: "GET /v1/guests", summary: "Guests as they are served.", query: []parameter{guestFilter, interfaceFilter}, answer: []Guest{}, codes: []int{404}},
	{pattern: "POST /v1/guests", summary: "Add guests, or replace those that came this way: all of them or none.", root: true, body: guestBody, answer: struct{}{}, codes: []int{404, 409, 413}},
	{pattern: "PUT /v1/guests", summary: "Change guests that are there: all of them or none.", root: true, body: guestBody, answer: struct{}{}, codes: []int{404, 409, 413}},
	{pattern: "PUT /v1/guests/{name}", summary: "Change a guest that is there.", root: true, body: oneGuestBody, answer: struct{}{}, codes: []int{404, 409, 413}},
	{pattern: "POST /v1/guests/{name}", summary: "Change the local preference of a guest's routes, or take them back; what is left out stays as it is.", root: true, body: moveBody, answer: Done{}, codes: []int{404, 409, 413}},
	{pattern: "DELETE /v1/guests/{name}", summary: "Remove a guest.", root: true, answer: struct{}{}, codes: []int{404, 409, 413}},
	{pattern: "GET /v1/neighbours", summary: "Addresses on the links: of the kernel's neighbour tables, and those that guests were found to have.", query: []parameter{interfaceFilter, guestFilter}, answer: []Neighbour{}, codes: []int{404, 500}},
	{pattern: "GET /v1/domains", summary: "Routing domains of the configuration.", answer: []Domain{}},
	{pattern: "GET /v1/evpn", summary: "Routes of EVPN, of the overlays that have it.", query: []parameter{{name: "overlay", description: "Only of this overlay.", schema: stringType},
		{name: "guest", description: "Only ours of this guest.", schema: stringType}, {name: "mac", description: "Only with this MAC.", schema: stringType},
		{name: "vtep", description: "Only to this VTEP.", schema: stringType}}, answer: []EVPN{}, codes: []int{404}},
	{pattern: "GET /v1/firewall", summary: "Packets of guests that the firewall dropped.", query: []parameter{{name: "kind", description: "Only this reason.", schema: stringType}}, answer: []Drop{}, codes: []int{404}},
	{pattern: "GET /v1/events", summary: "What happens, as it happens: one JSON object a line, without end. A reader that is slow loses the oldest and reads an event \"lost\" with their count.", query: []parameter{
		{name: "recent", description: "How many events of before come first.", schema: countType}, eventFilter}, answer: journal.Event{}, media: eventTypes},
	{pattern: "GET /v1/history", summary: "Events of before, also of earlier runs, oldest first.", query: []parameter{{name: "since", description: "Only events from then on.", schema: timeType}, eventFilter,
		{name: "peer", description: "Only events about this peer, by its address or its session's name.", schema: stringType}, {name: "guest", description: "Only events about this guest.", schema: stringType},
		{name: "interface", description: "Only events about this interface.", schema: stringType}, {name: "last", description: "Only that many, the latest; 0 is all.", schema: countType}}, answer: []journal.Event{}, codes: []int{500}},
	{pattern: "GET /v1/health", summary: "How the hypervisor is.", answer: Health{}},
	{pattern: "GET /v1/status", summary: "The daemon as a whole.", answer: Status{}},
	{pattern: "GET /v1/explain", summary: "What happens to packets to one destination, and why.", query: []parameter{{name: "prefix", description: "The destination: an address, or a prefix, of which the first address stands for all.", schema: stringType, required: true},
		{name: "from", description: "The guest or the interface that the packets come from; without it this host sends them.", schema: stringType},
		{name: "source", description: "Their source address; without it the guest's own.", schema: stringType}}, answer: Explanation{}, codes: []int{404, 500}},
	{pattern: "GET /v1/explain/address", summary: "Which MAC a guest's address in an overlay has, where frames for it go, and why.", query: []parameter{{name: "address", description: "The guest's address.", schema: stringType, required: true},
		{name: "vni", description: "The VNI of the overlay.", schema: stringType, required: true}}, answer: AddressExplanation{}, codes: []int{404, 500}},
	{pattern: "GET /v1/explain/mac", summary: "Where frames for a MAC go in the overlays, and why.", query: []parameter{{name: "mac", description: "The MAC.", schema: stringType, required: true},
		{name: "vni", description: "Only in the overlay with this VNI; without it in all that know the MAC.", schema: stringType}}, answer: MACExplanation{}, codes: []int{404, 500}},
	{pattern: "GET /v1/diff", summary: "In what the kernel differs from what is desired.", answer: []Difference{}},
	{pattern: "POST /v1/reload", summary: "Read the daemon's configuration file again, or take the one in the body, which becomes that file's content.", root: true, query: []parameter{
		{name: "force", description: "Also if sessions, an uplink or the way to the hypervisor are lost by it.", schema: boolType},
		{name: "dry-run", description: "Only say what would be done.", schema: boolType},
		{name: "confirm", description: "Roll back after this time, such as 5m, unless the reload is confirmed before.", schema: stringType},
		{name: "file", description: "The configuration is the body; this name of it is for messages, and may be empty.", schema: stringType}}, body: reloadBody, answer: Reload{}, codes: []int{404, 409, 413}},
	{pattern: "POST /v1/reload/confirm", summary: "Have the reload that waits for its confirmation count for good.", root: true, answer: struct{}{}, codes: []int{404, 409, 413}},
	{pattern: "POST /v1/reload/cancel", summary: "Roll that reload back.", root: true, answer: struct{}{}, codes: []int{404, 409, 413}},
	{pattern: "GET /v1/drain", summary: "Whether the host is drained, and how far that has come.", answer: Drain{}},
	{pattern: "POST /v1/drain", summary: "Have traffic go elsewhere that can.", root: true, query: []parameter{
		{name: "all", description: "Withdraw what no other router announces, too: it is not reachable any more then.", schema: boolType},
		{name: "until-stop", description: "The drain ends with the daemon: it is not written down.", schema: boolType}}, answer: Drain{}, codes: []int{404, 409, 413}},
	{pattern: "POST /v1/undrain", summary: "End the drain.", root: true, answer: Drain{}, codes: []int{404, 409, 413}},
	{pattern: "GET /v1/openapi.json", summary: "This document.", answer: map[string]any{}},
	{pattern: "GET /metrics", summary: "Metrics, in the text format of Prometheus: docs/metrics.md has them.", answer: "", media: "text/plain"},
	{pattern: "GET /debug/pprof/", path: "/debug/pprof/{profile}", summary: "A profile of the daemon, as net/http/pprof has it: heap, goroutine, and so on. Without a name: a list of them.", root: true, answer: "", media: "application/octet-stream"},
	{pattern: "GET /debug/pprof/profile", summary: "A profile of the daemon's processor time.", root: true, answer: "", media: "application/octet-stream"},
	{pattern: "GET /debug/pprof/trace", summary: "An execution trace of the daemon.", root: true, answer: "", media: "application/octet-stream"},
}

// unchecked reports whether the parameters are those of a library, which ignores others.
func (o operation) unchecked() bool { return !strings.HasPrefix(o.target(), "/v1/") }

func (o operation) method() string { m, _, _ := strings.Cut(o.pattern, " "); return m }

func (o operation) target() string {
	_, p, _ := strings.Cut(o.pattern, " ")
	return cmp.Or(o.path, p)
}

// pathParameters describes the parts of paths.
var pathParameters = map[string]parameter{
	"peer":    {description: "The peer's address, or the session's name.", schema: stringType},
	"op":      {description: "What is done.", schema: &jsonschema.Schema{Type: "string", Enum: []any{"reset", "disable", "enable"}}},
	"name":    {description: "The guest's name.", schema: stringType},
	"profile": {description: "The name of a profile.", schema: stringType},
}

// failures are the answers that are no success.
var failures = map[int]string{
	400: "The request is wrong: a parameter that there is not, that is empty, comes twice or is none, or a body that is not understood.",
	403: "Who asks may not: x-access says who may.",
	404: "What is asked for is not there.",
	405: "The resource does not have this method; the text says which it has.",
	409: "It conflicts with what is, or was refused: nothing was changed.",
	413: "The body is too large.",
	500: "The daemon could not find out.",
	503: "There is no room for this client: 256 connections are open and busy, or 32 clients follow the events.",
}

func ref(name string) *jsonschema.Schema {
	return &jsonschema.Schema{Ref: "#/components/schemas/" + name}
}

// document makes the OpenAPI document.
func document(t *testing.T) []byte {
	c := components{t: t, docs: comments(t), ids: map[string]bool{}, known: map[reflect.Type]*jsonschema.Schema{}, all: map[string]*jsonschema.Schema{}}
	c.of(Error{})
	c.of(Move{})
	s, err := jsonschema.ForType(c.request(reflect.TypeFor[config.Guest]()), &jsonschema.ForOptions{TypeSchemas: c.known})
	if err != nil {
		t.Fatal(err)
	}
	s.Description = "A guest, as the configuration file has it."
	c.all["GuestRequest"] = s
	paths := map[string]map[string]any{}
	for _, o := range operations {
		if paths[o.target()] == nil {
			paths[o.target()] = map[string]any{}
		}
		paths[o.target()][strings.ToLower(o.method())] = c.operation(o)
	}
	responses := map[string]any{}
	for code, description := range failures {
		responses[responseName(code)] = response(description, "application/json", ref("Error"))
	}
	text, err := json.MarshalIndent(map[string]any{
		"openapi": "3.1.0",
		"info": map[string]any{
			"title":   "hvrouter",
			"version": "1",
			"description": "The API of hvrouter's daemon, on the unix socket that `api:` of the configuration names, /run/hvrouter/api.sock by default. The kernel says who asks (SO_PEERCRED): root and the user that the daemon runs as may do everything; members of the group of " +
				"`api-group` may do what has `x-access: group`; others may do nothing. A path that is none is answered with 404, a method that a path does not have with 405. HEAD is for those who may do everything. " +
				"Later daemons may add fields to their answers: clients ignore those that they do not know. Fields of requests that a daemon does not know are refused.",
		},
		"servers":    []any{map[string]any{"url": "http://hvrouter", "description": "The unix socket; the host's name does not matter."}},
		"paths":      paths,
		"components": map[string]any{"schemas": c.all, "responses": responses},
	}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(text, '\n')
}

func responseName(code int) string { return strings.ReplaceAll(http.StatusText(code), " ", "") }

func response(description, media string, s *jsonschema.Schema) map[string]any {
	return map[string]any{"description": description, "content": map[string]any{media: map[string]any{"schema": s}}}
}

// components are the schemas of Go types that have names.
type components struct {
	t     *testing.T
	docs  map[string]string // comments
	ids   map[string]bool   // of operations
	known map[reflect.Type]*jsonschema.Schema
	all   map[string]*jsonschema.Schema
}

func (c *components) operation(o operation) map[string]any {
	id := strings.ToLower(o.method())
	for _, part := range regexp.MustCompile(`[a-z]+`).FindAllString(strings.ReplaceAll(strings.TrimPrefix(o.target(), "/v1"), "{", "by/"), -1) {
		id += strings.ToUpper(part[:1]) + part[1:]
	}
	if c.ids[id] {
		c.t.Errorf("two operations are called %s", id)
	}
	c.ids[id] = true
	params := []any{}
	for _, m := range regexp.MustCompile(`\{(\w+)\}`).FindAllStringSubmatch(o.target(), -1) {
		p, ok := pathParameters[m[1]]
		if !ok {
			c.t.Errorf("%s: {%s} is not described", o.pattern, m[1])
		}
		params = append(params, map[string]any{"name": m[1], "in": "path", "required": true, "description": p.description, "schema": p.schema})
	}
	for _, p := range o.query {
		m := map[string]any{"name": p.name, "in": "query", "description": p.description, "schema": p.schema}
		if p.required {
			m["required"] = true
		}
		if slices.Contains(mayBeEmpty, p.name) {
			m["allowEmptyValue"] = true
		}
		params = append(params, m)
	}
	responses := map[string]any{"200": response("Done.", cmp.Or(o.media, "application/json"), c.of(o.answer))}
	for _, code := range o.failures() {
		responses[strconv.Itoa(code)] = map[string]any{"$ref": "#/components/responses/" + responseName(code)}
	}
	all := map[string]any{"operationId": id, "summary": o.summary, "parameters": params, "responses": responses, "x-access": map[bool]string{true: "root", false: "group"}[o.root]}
	if o.body != nil {
		content := map[string]any{}
		for _, m := range o.body.media {
			content[m] = map[string]any{"schema": o.body.schema}
		}
		all["requestBody"] = map[string]any{"description": o.body.description, "required": o.body.required, "content": content}
	}
	return all
}

func (o operation) failures() []int {
	return append([]int{400, 403, 503}, o.codes...)
}

// of returns the schema of a value's type.
func (c *components) of(v any) *jsonschema.Schema {
	t := reflect.TypeOf(v)
	c.collect(t)
	return c.infer(t, c.known)
}

func (c *components) infer(t reflect.Type, known map[reflect.Type]*jsonschema.Schema) *jsonschema.Schema {
	s, err := jsonschema.ForType(t, &jsonschema.ForOptions{TypeSchemas: known})
	if err != nil {
		c.t.Fatal(err)
	}
	if len(s.Properties) > 0 && t != reflect.TypeFor[Move]() {
		// A client that knows this document understands the answers of later daemons, too.
		s.AdditionalProperties = nil
	}
	for name, p := range s.Properties {
		// What is left out if it is nil is never null.
		if !slices.Contains(s.Required, name) && len(p.Types) == 2 {
			p.Type, p.Types = p.Types[1], nil
		}
		if p.Ref != "" {
			p.Types = nil
		}
	}
	return s
}

var textMarshaler = reflect.TypeFor[encoding.TextMarshaler]()

// collect makes the schemas of the named types that t consists of.
func (c *components) collect(t reflect.Type) {
	_, done := c.known[t]
	switch {
	case done:
	case t == reflect.TypeFor[time.Time]():
		c.known[t] = timeType
	case t.Implements(textMarshaler):
		c.known[t] = stringType
	case t.Kind() == reflect.Pointer, t.Kind() == reflect.Slice, t.Kind() == reflect.Map:
		c.collect(t.Elem())
	case t.Kind() == reflect.Struct:
		for _, f := range reflect.VisibleFields(t) {
			if f.Anonymous && f.Type.Kind() == reflect.Struct || f.Tag.Get("json") == "-" {
				continue // its fields come on their own
			}
			c.collect(f.Type)
		}
		if t.Name() == "" {
			return
		}
		s := c.infer(t, c.known)
		if s.Description = c.docs[t.String()]; s.Description == "" {
			c.t.Errorf("type %s has no comment", t)
		}
		for _, f := range reflect.VisibleFields(t) {
			if p := s.Properties[jsonName(f, "json")]; p != nil {
				p.Description = c.docs[owner(t, f).String()+"."+f.Name]
			}
		}
		if c.all[t.Name()] != nil {
			c.t.Errorf("there are several types %s", t.Name())
		}
		c.all[t.Name()] = s
		c.known[t] = ref(t.Name())
	}
}

// owner is the struct that a promoted field is of.
func owner(t reflect.Type, f reflect.StructField) reflect.Type {
	if len(f.Index) == 1 {
		return t
	}
	return t.FieldByIndex(f.Index[:len(f.Index)-1]).Type
}

func jsonName(f reflect.StructField, key string) string {
	name, _, _ := strings.Cut(f.Tag.Get(key), ",")
	return name
}

// request returns the type that a part of a request has: what YAML takes and requires, described.
func (c *components) request(t reflect.Type) reflect.Type {
	c.collectText(t)
	switch {
	case t.Implements(textMarshaler):
		return t
	case t.Kind() == reflect.Slice:
		return reflect.SliceOf(c.request(t.Elem()))
	case t.Kind() == reflect.Pointer:
		return reflect.PointerTo(c.request(t.Elem()))
	case t.Kind() != reflect.Struct:
		return t
	}
	var list []reflect.StructField
	for i := range t.NumField() {
		f := t.Field(i)
		if tag := f.Tag.Get("yaml"); tag != "-" {
			described := reflect.StructTag(fmt.Sprintf("json:%q", tag))
			if text := c.docs[t.String()+"."+f.Name]; text != "" {
				described += reflect.StructTag(fmt.Sprintf(" jsonschema:%q", text))
			}
			list = append(list, reflect.StructField{Name: f.Name, Type: c.request(f.Type), Tag: described})
		}
	}
	return reflect.StructOf(list)
}

func (c *components) collectText(t reflect.Type) {
	if t.Implements(textMarshaler) {
		c.collect(t)
	}
}

// comments returns those of types, as api.Session, and of fields, as api.Session.Peer.
func comments(t *testing.T) map[string]string {
	all := map[string]string{}
	for _, dir := range []string{".", "../config", "../journal", "../lookup"} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(f, func(n ast.Node) bool {
				g, ok := n.(*ast.GenDecl)
				if !ok || g.Tok != token.TYPE {
					return true
				}
				for _, s := range g.Specs {
					s := s.(*ast.TypeSpec)
					name := f.Name.Name + "." + s.Name.Name
					all[name] = sentence(cmp.Or(s.Doc.Text(), g.Doc.Text()))
					if st, ok := s.Type.(*ast.StructType); ok {
						for _, field := range st.Fields.List {
							for _, n := range field.Names {
								all[name+"."+n.Name] = sentence(cmp.Or(field.Doc.Text(), field.Comment.Text()))
							}
						}
					}
				}
				return true
			})
		}
	}
	return all
}

func sentence(comment string) string { return strings.Join(strings.Fields(comment), " ") }

const documentFile = "../../../docs/openapi.json"

// TestOpenAPI: docs/openapi.json describes each resource that the handlers have, as it is, and no
// other. With -update it is written.
func TestOpenAPI(t *testing.T) {
	patterns := map[string]bool{}
	register(&backend{}, func(pattern string, _ func(http.ResponseWriter, *http.Request)) { patterns[pattern] = true })
	for _, o := range operations {
		if !patterns[o.pattern] {
			t.Errorf("%s is described, and not there", o.pattern)
		}
		delete(patterns, o.pattern)
	}
	for _, p := range slices.Sorted(maps.Keys(patterns)) {
		t.Errorf("%s is not described", p)
	}
	scenario.Golden(t, documentFile, string(document(t)))
}
