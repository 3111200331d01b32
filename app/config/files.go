package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const (
	// fileSuffix behind a variable's name names the variable that holds the path of a file with the value.
	fileSuffix = "_FILE"
	// credentialPrefix begins the names of systemd's credentials that are variables: waybill.SECRET_KEY.
	credentialPrefix = "waybill."
	// maxValueBytes is the size of the largest file that is read as a value.
	maxValueBytes = 64 << 10
)

// files reads variables from the environment, from files that NAME_FILE names, and from systemd's credentials
// (CREDENTIALS_DIRECTORY, see systemd.exec(5)), in this order. What is wrong with a file is kept by the variable's name.
type files struct {
	env      func(string) string
	problems map[string]error
}

// get is the value of a variable, empty when nobody gives one. A line's end behind the value is not part of it.
func (f *files) get(name string) string {
	value, _, _ := f.find(name)
	return value
}

// find is get that also tells the source of the value, and which variable or credential gave it.
func (f *files) find(name string) (value, source, from string) {
	value, path := f.env(name), f.env(name+fileSuffix)
	if value != "" {
		if path != "" {
			f.problem(name, fmt.Errorf("give either %s or %s%s, not both", name, name, fileSuffix))
		}
		return value, SourceEnvironment, name
	}
	source, from = SourceFile, name+fileSuffix
	said := from
	if path == "" {
		dir := f.env("CREDENTIALS_DIRECTORY")
		if dir == "" {
			return "", SourceDefault, ""
		}
		source, from = SourceCredential, credentialPrefix+name
		path, said = filepath.Join(dir, from), "the credential "+from
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
			return "", SourceDefault, ""
		}
	}
	value, err := readValue(path)
	if err != nil {
		f.problem(name, fmt.Errorf("%s: %w", said, err))
	}
	return value, source, from
}

func (f *files) problem(name string, err error) {
	if f.problems == nil {
		f.problems = map[string]error{}
	}
	f.problems[name] = err
}

// readValue is the content of a file without white space around it. Its errors never hold the content.
func readValue(path string) (string, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return "", err
	case info.IsDir():
		return "", fmt.Errorf("%s is a directory; name the file in it", path)
	case info.Size() > maxValueBytes:
		return "", fmt.Errorf("%s is larger than 64 KiB; is it the right file?", path)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	value := strings.TrimSpace(string(b))
	if value == "" {
		return "", fmt.Errorf("%s is empty", path)
	}
	return value, nil
}
