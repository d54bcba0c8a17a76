package agent

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"conclave"
)

//go:embed roles/*.md
var builtin embed.FS

// maxRoleFile bounds a role's file: a prompt, not a book.
const maxRoleFile = 64 << 10

// roleName is what a role may be called: its agents are NAME-1, NAME-2, …
var roleName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,39}$`)

// Source is a folder with roles.
type Source struct {
	Dir string
	// Claude reads files as Claude Code's own subagents: unknown keys are
	// skipped, tools and models are translated, and a file that can't be read so
	// is a warning.
	Claude bool
	// Replace lets a file replace a built-in role of the same name. Leave it off
	// for a repository's folder: who is reviewed must not write the reviewer.
	Replace bool
}

// RepositorySources are the folders of a repository that hold roles.
func RepositorySources(repo string) []Source {
	return []Source{
		{Dir: filepath.Join(repo, ".claude", "agents"), Claude: true},
		{Dir: filepath.Join(repo, ".conclave", "agents")},
	}
}

// BuiltinRoles returns the roles that Conclave ships.
func BuiltinRoles() ([]conclave.AgentSpec, error) {
	specs, _, err := loadFS(builtin, "roles", Source{}, "built in")
	return specs, err
}

// Shipped reports whether a role is one that Conclave ships.
func Shipped(role conclave.Role) bool {
	_, err := fs.Stat(builtin, "roles/"+string(role)+".md")
	return err == nil
}

// Named returns the Markdown of an agent that has a shipped role and a name of
// its own. ErrInvalid when the role is not shipped, or the name can't be one.
func Named(role conclave.Role, name string) ([]byte, error) {
	if !Shipped(role) {
		specs, err := BuiltinRoles()
		if err != nil {
			return nil, err
		}
		var known []string
		for _, s := range specs {
			known = append(known, s.Name)
		}
		return nil, conclave.Errorf(conclave.ErrInvalid, "no role %q; %s (a file of your own makes another role)", role, conclave.DidYouMean(string(role), known))
	}
	if !roleName.MatchString(name) || Shipped(conclave.Role(name)) {
		return nil, conclave.Errorf(conclave.ErrInvalid, "agent name %q: want a lower-case letter, then letters, digits and hyphens, at most 40, and not the name of a shipped role", name)
	}
	text, err := fs.ReadFile(builtin, "roles/"+string(role)+".md")
	if err != nil {
		return nil, fmt.Errorf("reading the role %s: %w", role, err)
	}
	return []byte(strings.Replace(string(text), "name: "+string(role)+"\n", "name: "+name+"\nrole: "+string(role)+"\n", 1)), nil
}

// Load returns the built-in roles and those of the sources, by name. Of two
// files with one name the later source wins; a built-in role is replaced only
// when the source may. A folder that does not exist holds nothing. ErrInvalid
// names the file and the line; warnings tell what was left out, and why.
func Load(sources ...Source) (specs []conclave.AgentSpec, warnings []string, err error) {
	specs, err = BuiltinRoles()
	if err != nil {
		return nil, nil, err
	}
	shipped := map[string]bool{}
	byName := map[string]conclave.AgentSpec{}
	for _, s := range specs {
		shipped[s.Name], byName[s.Name] = true, s
	}
	for _, src := range sources {
		found, warned, err := loadFS(os.DirFS(src.Dir), ".", src, "")
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		warnings = append(warnings, warned...)
		for _, s := range found {
			if shipped[s.Name] && !src.Replace {
				warnings = append(warnings, fmt.Sprintf("%s: the role %s is built in, and a repository's file does not replace it; use another name", s.Source, s.Name))
				continue
			}
			byName[s.Name] = s
		}
	}
	specs = specs[:0]
	for _, s := range byName {
		specs = append(specs, s)
	}
	slices.SortFunc(specs, func(a, b conclave.AgentSpec) int { return strings.Compare(a.Name, b.Name) })
	return specs, warnings, nil
}

func loadFS(fsys fs.FS, dir string, src Source, shownAs string) (specs []conclave.AgentSpec, warnings []string, err error) {
	entries, err := fs.ReadDir(fsys, dir)
	if err != nil {
		return nil, nil, fmt.Errorf("reading roles: %w", err)
	}
	for _, e := range entries {
		if e.IsDir() || path.Ext(e.Name()) != ".md" {
			continue
		}
		shown := filepath.Join(src.Dir, e.Name())
		text, err := readRole(fsys, path.Join(dir, e.Name()), shown, e)
		var spec conclave.AgentSpec
		if err == nil {
			spec, err = parseRole(shown, text, src.Claude)
		}
		if err != nil && src.Claude {
			warnings = append(warnings, err.Error())
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		if shownAs != "" {
			spec.Source = shownAs
		}
		specs = append(specs, spec)
	}
	return specs, warnings, nil
}

// readRole reads a role's file. A link is refused: it could show a model any
// file of the machine.
func readRole(fsys fs.FS, name, shown string, e fs.DirEntry) (string, error) {
	info, err := e.Info()
	if err != nil {
		return "", fmt.Errorf("reading role %s: %w", shown, err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxRoleFile {
		return "", conclave.Errorf(conclave.ErrInvalid, "%s: a role is a regular file of at most 64 KiB", shown)
	}
	text, err := fs.ReadFile(fsys, name)
	if err != nil {
		return "", fmt.Errorf("reading role %s: %w", shown, err)
	}
	return string(text), nil
}

// parseRole reads a role's file. Errors name the file and the line.
func parseRole(file, text string, claude bool) (conclave.AgentSpec, error) {
	text = strings.TrimPrefix(strings.ReplaceAll(text, "\r\n", "\n"), "\ufeff")
	first, rest, _ := strings.Cut(text, "\n")
	if strings.TrimRight(first, " ") != "---" {
		return conclave.AgentSpec{}, conclave.Errorf(conclave.ErrInvalid, "%s:1: a role starts with frontmatter: a line of ---, then name and description, then another line of ---", file)
	}
	front, prompt, found := cutLine(rest, "---")
	if !found {
		return conclave.AgentSpec{}, conclave.Errorf(conclave.ErrInvalid, "%s:1: the frontmatter has no end; close it with a line of ---", file)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(front), &doc); err != nil {
		return conclave.AgentSpec{}, conclave.Errorf(conclave.ErrInvalid, "%s: the frontmatter is not YAML: %v", file, err)
	}
	spec := conclave.AgentSpec{Prompt: strings.TrimSpace(prompt), Source: file}
	if len(doc.Content) == 1 && doc.Content[0].Kind == yaml.MappingNode {
		pairs := doc.Content[0].Content
		for i := 0; i+1 < len(pairs); i += 2 {
			if err := setKey(&spec, file, pairs[i], pairs[i+1], claude); err != nil {
				return conclave.AgentSpec{}, err
			}
		}
	}
	switch {
	case !roleName.MatchString(spec.Name):
		return spec, conclave.Errorf(conclave.ErrInvalid, "%s: name %q: want a lower-case letter, then letters, digits and hyphens, at most 40", file, spec.Name)
	case spec.Description == "":
		return spec, conclave.Errorf(conclave.ErrInvalid, "%s: description is missing: say in one sentence when to use %s", file, spec.Name)
	case spec.Prompt == "":
		return spec, conclave.Errorf(conclave.ErrInvalid, "%s: there is no prompt after the frontmatter", file)
	}
	if spec.Role == "" {
		spec.Role = conclave.Role(spec.Name)
	}
	return spec, nil
}

// cutLine cuts text at the first line that is exactly sep.
func cutLine(text, sep string) (before, after string, found bool) {
	at := 0
	for line := range strings.Lines(text) {
		if strings.TrimRight(line, " \n") == sep {
			return text[:at], text[at+len(line):], true
		}
		at += len(line)
	}
	return text, "", false
}

func roleKeys() []string {
	return []string{"name", "description", "tools", "model", "role", "max_turns", "topics"}
}

func setKey(spec *conclave.AgentSpec, file string, key, value *yaml.Node, claude bool) error {
	// The frontmatter starts on the file's second line.
	at := fmt.Sprintf("%s:%d", file, key.Line+1)
	var err error
	switch key.Value {
	case "name":
		err = value.Decode(&spec.Name)
	case "description":
		err = value.Decode(&spec.Description)
	case "role":
		err = value.Decode(&spec.Role)
	case "max_turns":
		if err = value.Decode(&spec.MaxTurns); err == nil && spec.MaxTurns < 1 {
			err = errors.New("want a number from 1 up")
		}
	case "model":
		if err = value.Decode(&spec.Model); err == nil && claude {
			spec.Model = claudeModel(spec.Model)
		}
	case "tools":
		spec.Tools, err = decodeTools(value, claude)
	case "topics":
		if err = value.Decode(&spec.Topics); err == nil {
			for _, topic := range spec.Topics {
				err = errors.Join(err, conclave.CheckTopic(topic))
			}
		}
	default:
		if claude {
			return nil
		}
		return conclave.Errorf(conclave.ErrInvalid, "%s: unknown key %q; %s", at, key.Value, conclave.DidYouMean(key.Value, roleKeys()))
	}
	if err != nil {
		return conclave.Errorf(conclave.ErrInvalid, "%s: %s: %v", at, key.Value, err)
	}
	return nil
}

func roleTools() []string { return []string{"read", "write", "search", "run", "ask"} }

// decodeTools takes a list, or names with commas between them.
func decodeTools(value *yaml.Node, claude bool) ([]string, error) {
	var names []string
	if value.Kind == yaml.ScalarNode {
		for name := range strings.SplitSeq(value.Value, ",") {
			if name = strings.TrimSpace(name); name != "" {
				names = append(names, name)
			}
		}
	} else if err := value.Decode(&names); err != nil {
		return nil, err
	}
	var tools []string
	for _, name := range names {
		if claude {
			if name = claudeTool(name); name == "" {
				continue
			}
		} else if !slices.Contains(roleTools(), name) {
			return nil, fmt.Errorf("unknown tool %q; %s", name, conclave.DidYouMean(name, roleTools()))
		}
		if !slices.Contains(tools, name) {
			tools = append(tools, name)
		}
	}
	return tools, nil
}

// claudeTool translates a tool of Claude Code; one that has no counterpart is "".
func claudeTool(name string) string {
	name, _, _ = strings.Cut(name, "(") // Bash(git diff:*)
	switch name {
	case "Read", "NotebookRead":
		return "read"
	case "Write", "Edit", "MultiEdit", "NotebookEdit":
		return "write"
	case "Grep", "Glob", "LS":
		return "search"
	case "Bash":
		return "run"
	case "Agent", "Task":
		return "ask"
	}
	return ""
}

// claudeModel translates Claude Code's aliases into tiers.
func claudeModel(name string) string {
	switch name {
	case "opus":
		return "strong"
	case "sonnet":
		return "middle"
	case "haiku":
		return "small"
	case "inherit":
		return ""
	}
	return name
}

// Skills returns the kinds of assignment that a role takes; a role of the
// user's own takes all.
func Skills(role conclave.Role) []conclave.AssignmentKind {
	common := []conclave.AssignmentKind{conclave.AssignVote, conclave.AssignAsk, conclave.AssignHandoff}
	switch role {
	case conclave.RolePlanner:
		return append([]conclave.AssignmentKind{conclave.AssignDraft, conclave.AssignRevise}, common...)
	case conclave.RoleArchitect:
		return append([]conclave.AssignmentKind{conclave.AssignComment, conclave.AssignOptions, conclave.AssignRefute}, common...)
	case conclave.RoleDeveloper:
		return append([]conclave.AssignmentKind{conclave.AssignBuild, conclave.AssignRefute}, common...)
	case conclave.RoleDomainExpert:
		return append([]conclave.AssignmentKind{conclave.AssignComment}, common...)
	case conclave.RoleSecurity, conclave.RoleQA, conclave.RoleCodeReviewer, conclave.RolePerformanceReviewer:
		return append([]conclave.AssignmentKind{conclave.AssignComment, conclave.AssignReview, conclave.AssignRefute}, common...)
	}
	return append([]conclave.AssignmentKind{
		conclave.AssignDraft, conclave.AssignComment, conclave.AssignRevise, conclave.AssignOptions,
		conclave.AssignBuild, conclave.AssignReview, conclave.AssignRefute,
	}, common...)
}
