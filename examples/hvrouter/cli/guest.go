package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
)

// guests is `hvrouter guest`.
func guests(in invocation) int {
	fs := in.flags("guest")
	socket := in.api(fs)
	asJSON := fs.Bool("j", false, "list: JSON")
	pref := fs.Int64("local-pref", -1, "move: announce with this LOCAL_PREF; the greater one gets the traffic")
	down := fs.Bool("down", false, "move: withdraw the guest's routes")
	up := fs.Bool("up", false, "move: announce the guest's routes again")
	words, ok := in.words(fs, 1, 2)
	if !ok {
		return exitUsage
	}
	name := ""
	if len(words) == 2 {
		name = words[1]
	}
	switch words[0] {
	case "list":
		return in.present(*socket, views()["guests"], *asJSON)
	case "add", "update":
		body, err := in.read(name)
		if err != nil {
			return in.fail(exitFailed, err)
		}
		method := "POST"
		if words[0] == "update" {
			method = "PUT" // which wants them to be there
		}
		return in.send(*socket, method, "/v1/guests", body)
	case "del", "move":
		if name == "" {
			return in.fail(exitUsage, fmt.Errorf("guest %s: whom?", words[0]))
		}
		path := "/v1/guests/" + url.PathEscape(name)
		if words[0] == "del" {
			return in.send(*socket, "DELETE", path, nil)
		}
		body, err := moveBody(*pref, *down, *up)
		if err != nil {
			return in.fail(exitUsage, err)
		}
		return in.send(*socket, "POST", path, body)
	}
	return in.fail(exitUsage, fmt.Errorf("guest %s: want add, update, del, move or list", words[0]))
}

// read reads a file, or standard input for "" and "-".
func (in invocation) read(file string) ([]byte, error) {
	if file == "" || file == "-" {
		return io.ReadAll(in.stdin)
	}
	return os.ReadFile(file)
}

func moveBody(pref int64, down, up bool) ([]byte, error) {
	var m api.Move
	switch {
	case down && up:
		return nil, errors.New("guest move: down or up, not both")
	case pref > 1<<32-1:
		return nil, fmt.Errorf("guest move: LOCAL_PREF %d is more than 32 bits", pref)
	case pref < 0 && !down && !up:
		return nil, errors.New("guest move: want -local-pref, -down or -up")
	}
	if pref >= 0 {
		p := uint32(pref)
		m.LocalPref = &p
	}
	if down || up {
		m.Down = &down
	}
	return json.Marshal(m)
}
