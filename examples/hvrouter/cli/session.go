package cli

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
)

// session is `hvrouter session`.
func session(in invocation) int {
	fs := in.flags("session")
	socket := in.api(fs)
	text := fs.String("text", "", "reset, disable: a `TEXT` for people here and at the peer")
	hard := fs.Bool("hard", false, "reset: neither side keeps routes meanwhile")
	words, ok := in.words(fs, 2, 2)
	if !ok {
		return exitUsage
	}
	if !slices.Contains([]string{"reset", "disable", "enable"}, words[0]) {
		return in.fail(exitUsage, fmt.Errorf("session %s: want reset, disable or enable", words[0]))
	}
	if *hard && words[0] != "reset" || *text != "" && words[0] == "enable" {
		return in.fail(exitUsage, fmt.Errorf("session %s does not take this flag", words[0]))
	}
	q := url.Values{}
	if *text != "" {
		q.Set("text", *text)
	}
	if *hard {
		q.Set("hard", strconv.FormatBool(*hard))
	}
	return in.send(*socket, "POST", "/v1/sessions/"+url.PathEscape(words[1])+"/"+words[0]+"?"+q.Encode(), nil)
}
