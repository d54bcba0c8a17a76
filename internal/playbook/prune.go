package playbook

import (
	"fmt"
	"go/ast"
	goparser "go/parser"
	gotoken "go/token"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// prune removes the helpers of one package that this service does not use:
// unexported functions, methods and variables whose name nothing else says.
func prune(files map[string]string) error {
	for {
		removed := false
		for _, name := range slices.Sorted(maps.Keys(files)) {
			src := files[name]
			cut, err := unused(name, files)
			if err != nil {
				return err
			}
			if cut != nil {
				files[name] = src[:cut[0]] + src[cut[1]:]
				removed = true
			}
		}
		if !removed {
			return nil
		}
	}
}

// unused is the range of a declaration that nothing uses, or nil.
func unused(name string, files map[string]string) ([]int, error) {
	src := files[name]
	fset := gotoken.NewFileSet()
	file, err := goparser.ParseFile(fset, name, src, goparser.ParseComments)
	if err != nil {
		return nil, fmt.Errorf("parsing %s: %w\n%s", name, err, src)
	}
	span := func(n ast.Node, doc *ast.CommentGroup) []int {
		start := n.Pos()
		if doc != nil {
			start = doc.Pos()
		}
		return []int{fset.Position(start).Offset, min(len(src), fset.Position(n.End()).Offset+1)}
	}
	for _, d := range file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if !d.Name.IsExported() && d.Name.Name != "init" && !called(d, files) && !interfaceMethod(d, files) {
				return span(d, d.Doc), nil
			}
		case *ast.GenDecl:
			for _, s := range d.Specs {
				v, ok := s.(*ast.ValueSpec)
				if !ok || len(v.Names) != 1 || v.Names[0].IsExported() || v.Names[0].Name == "_" || uses(v.Names[0].Name, files) > 1 {
					continue
				}
				if len(d.Specs) == 1 {
					return span(d, d.Doc), nil
				}
				return span(v, v.Doc), nil
			}
		}
	}
	return nil, nil
}

var goComment = pattern(`(?m)//.*$`)

// uses counts how often a word stands in the code of the package.
func uses(word string, files map[string]string) int {
	n := 0
	re := regexp.MustCompile(`\b` + regexp.QuoteMeta(word) + `\b`)
	for _, src := range files {
		n += len(re.FindAllString(goComment().ReplaceAllString(src, ""), -1))
	}
	return n
}

// called reports whether anything says the function's name, or calls a method
// of that name.
func called(d *ast.FuncDecl, files map[string]string) bool {
	if d.Recv == nil {
		return uses(d.Name.Name, files) > 1
	}
	re := regexp.MustCompile(`\.` + regexp.QuoteMeta(d.Name.Name) + `\b`)
	for _, src := range files {
		if re.MatchString(goComment().ReplaceAllString(src, "")) {
			return true
		}
	}
	return false
}

// interfaceMethod reports whether the method's name is one of an interface.
func interfaceMethod(d *ast.FuncDecl, files map[string]string) bool {
	if d.Recv == nil {
		return false
	}
	return slices.ContainsFunc(slices.Collect(maps.Values(files)), func(src string) bool {
		return strings.Contains(src, "\n\t"+d.Name.Name+"(") && strings.Contains(src, "interface {")
	})
}
