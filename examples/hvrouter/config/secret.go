package config

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/hyperfib/hyperfib/examples/hvrouter/files"
)

// maxSecret bounds the file of a key, which has 80 octets at most.
const maxSecret = 4096

// secrets reads the keys that the file names.
func (k *checker) secrets(c *Config) {
	k.secret("$.bgp", c.BGP.MD5File, &c.BGP.MD5)
	for i := range c.Domains {
		for j := range c.Domains[i].Reflectors {
			r := &c.Domains[i].Reflectors[j]
			k.secret(fmt.Sprintf("$.domains[%d].reflectors[%d]", i, j), r.MD5File, &r.MD5)
		}
	}
	for i := range c.Domains {
		for j := range c.Domains[i].Neighbors {
			n := &c.Domains[i].Neighbors[j]
			k.secret(fmt.Sprintf("$.domains[%d].neighbors[%d]", i, j), n.MD5File, &n.MD5)
		}
	}
	for i := range c.Sessions {
		k.secret(fmt.Sprintf("$.sessions[%d]", i), c.Sessions[i].MD5File, &c.Sessions[i].MD5)
	}
}

func (k *checker) secret(at, name string, into *string) {
	if name == "" {
		return
	}
	if *into != "" {
		k.bad(at+".md5-file", "md5 is given, too")
		return
	}
	path, credential := name, !filepath.IsAbs(name)
	if credential {
		dir := os.Getenv("CREDENTIALS_DIRECTORY")
		if dir == "" || !filepath.IsLocal(name) || strings.Contains(name, "/") {
			k.bad(at+".md5-file", "%s: no credential of this name was given: want an absolute path, or the name of one of the unit's LoadCredential=", name)
			return
		}
		path = filepath.Join(dir, name)
	}
	data, err := files.ReadRegular(path, maxSecret)
	if err != nil {
		k.unread(at+".md5-file", err)
		return
	}
	if info, err := os.Stat(path); err == nil && !credential && info.Mode().Perm()&0o007 != 0 {
		k.bad(at+".md5-file", "%s may be used by everybody: its mode is %04o, want 0600 or 0640", path, info.Mode().Perm())
		return
	}
	if *into = strings.TrimSuffix(string(data), "\n"); *into == "" {
		k.bad(at+".md5-file", "%s is empty", path)
	}
}

// secretText finds keys in the text of a file, whatever else is wrong with that.
var secretText = regexp.MustCompile(`md5["']?[ \t]*:[ \t]*("[^"\n]*"?|'[^'\n]*'?|[^\s,}\]][^\n,}\]]*)([^\n]*)`)

// secretKey finds where a key stands in a text of the file: a quote that is not closed takes the lines in that follow.
var secretKey = regexp.MustCompile(`md5\\?["']?\s*:\s*`)

// secrets are texts that may be a key, or a part of one, the longest first.
type secrets []string

// secretsOf returns the keys in the text of a file.
func secretsOf(text []byte) (k secrets) {
	for _, m := range secretText.FindAllSubmatch(text, -1) {
		value := strings.TrimSpace(string(m[1]))
		// In block style a plain scalar goes on behind a comma, and one that is quoted badly behind a quote.
		line := value + strings.TrimRight(string(m[2]), " \t\r")
		for _, v := range append(strings.Fields(value), value, strings.Trim(value, `"'`), strings.Trim(value, "[]{}"), line, strings.Trim(line, `"'`)) {
			if len(v) > 3 {
				k = append(k, v)
			}
		}
	}
	slices.SortFunc(k, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	return slices.Compact(k)
}

// hidden stands for a key.
const hidden = "(secret)"

// hide takes out of a text of the file what may be a key, and what follows the name of one. A key has to be whole: of a part of one
// hide knows nothing.
func (k secrets) hide(s string) string {
	if strings.Contains(s, "md5") { // most texts have nothing to search
		if m := secretKey.FindStringIndex(s); m != nil {
			s = s[:m[1]] + hidden
		}
	}
	return k.replace(s)
}

// replace replaces whole keys in a text.
func (k secrets) replace(s string) string {
	if len(k) == 0 {
		return s
	}
	pairs := []string{hidden, hidden} // not twice
	for _, v := range k {
		pairs = append(pairs, v, hidden)
	}
	return strings.NewReplacer(pairs...).Replace(s)
}

// discreet takes the keys of a file out of its errors, which quote what they are about.
func discreet(text []byte, list Errors) Errors {
	k := secretsOf(text)
	for _, e := range list {
		if e.format != "" {
			e.Msg = k.say(e.format, e.args)
			e.format, e.args = "", nil
		}
		e.Msg = k.replace(e.Msg)
	}
	return list
}
