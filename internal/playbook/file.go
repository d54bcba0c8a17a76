package playbook

import "io/fs"

// File is one generated file; Path is slash-separated and relative to the
// root of the repository.
type File struct {
	Path    string
	Content []byte
	Mode    fs.FileMode // 0 means 0o644
}
