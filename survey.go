package conclave

import (
	"context"
	"time"
)

// GetDebt asks where a repository's debt is.
type GetDebt struct {
	Repo    string `json:"repo" doc:"Path of a git repository on this machine"`
	Commits int    `json:"commits,omitempty" doc:"How many commits to look back, 1 to 100000; 5000 when absent"`
	Limit   int    `json:"limit,omitempty" doc:"How many files at the most, 1 to 1000; 20 when absent"`
	Seconds int    `json:"seconds,omitempty" doc:"How long to take for the history and for the analysers each, 1 to 600; 12 when absent"`
}

// Debt is where a repository is changed most and is hardest to change: its files
// by their score, the highest first.
type Debt struct {
	Repo       string     `json:"repo"`
	Commit     string     `json:"commit"`
	Commits    int        `json:"commits"` // that were counted, merges left out
	Since      *time.Time `json:"since"`   // of the oldest of them
	Files      []DebtFile `json:"files"`
	FileCount  int        `json:"file_count"` // files with code
	Score      string     `json:"score"`      // how the score is made
	Unmeasured []string   `json:"unmeasured"` // what was not, and why
}

// DebtFile is one file's share. A figure that was not measured is nil.
type DebtFile struct {
	Path       string    `json:"path"`
	Language   string    `json:"language"`
	Score      float64   `json:"score"`      // 0 to 100
	Changes    int       `json:"changes"`    // commits that touched it
	Lines      int       `json:"lines"`      // that are not blank
	Churn      int       `json:"churn"`      // lines added and taken
	Authors    int       `json:"authors"`    // by e-mail address
	Fixes      int       `json:"fixes"`      // of the changes, those whose subject speaks of a fix or a revert
	Complexity int       `json:"complexity"` // sum of the lines' depths of indentation
	Cyclomatic *int      `json:"cyclomatic"` // the highest of its functions; Go only
	Function   string    `json:"function,omitempty"`
	Findings   *int      `json:"findings"` // of analysers
	Last       time.Time `json:"last"`     // newest change
}

// GetContribution asks for the history of a contribution.
type GetContribution struct {
	Repo string `json:"repo" doc:"Path of a git repository on this machine"`
	Base string `json:"base,omitempty" doc:"Where it goes: a branch or commit; HEAD when absent"`
	Head string `json:"head" doc:"What is contributed: a branch or commit"`
}

// Contribution is what the history tells of a change: who made it, what it
// touches, and how that fared before.
type Contribution struct {
	Repo    string             `json:"repo"`
	From    string             `json:"from"` // the merge base
	To      string             `json:"to"`
	Commits []ContributedPart  `json:"commits"`
	Authors []Contributor      `json:"authors"`
	Files   []ContributionFile `json:"files"`
	Tests   ContributionTests  `json:"tests"`
	Counted int                `json:"counted"` // commits before it that were looked at, merges left out
	Notes   []string           `json:"notes"`   // what deserves a look
}

// ContributedPart is one commit of a contribution.
type ContributedPart struct {
	Hash    string `json:"hash"`
	Subject string `json:"subject"`
	Author  string `json:"author"`
}

// Contributor is an author with what became of their earlier commits here.
type Contributor struct {
	Name     string     `json:"name"`
	Email    string     `json:"email"`
	Commits  int        `json:"commits"`  // earlier ones, of those counted
	Reverted int        `json:"reverted"` // of them, those that a later commit took back
	First    *time.Time `json:"first"`    // nil for a newcomer
}

// ContributionFile is a file that a contribution touches.
type ContributionFile struct {
	Path    string   `json:"path"`
	Status  string   `json:"status"` // git's letter: A, M, D, R
	Added   int      `json:"added"`
	Deleted int      `json:"deleted"`
	Changes int      `json:"changes"` // earlier commits that touched it
	Rank    int      `json:"rank"`    // 1 for the file that was changed most; 0 when it never was
	Fixes   int      `json:"fixes"`   // of the changes, those whose subject speaks of a fix or a revert
	Broke   []string `json:"broke"`   // the newest of those subjects
	Authors []string `json:"authors"` // who changed it before, most often first
	Known   bool     `json:"known"`   // one of the contribution's authors did
}

// ContributionTests says whether tests came with the code.
type ContributionTests struct {
	Code    []string `json:"code"`    // files with code that are not tests
	Tests   []string `json:"tests"`   // tests that it adds or changes
	Without []string `json:"without"` // folders whose code changes and in which no test does
}

// GetOptionFacts asks what a repository has of some options.
type GetOptionFacts struct {
	Repo    string   `json:"repo" doc:"Path of a git repository on this machine"`
	Options []string `json:"options" doc:"Names of technologies, 1 to 20"`
}

// OptionFacts is what a repository has of an option.
type OptionFacts struct {
	Option   string   `json:"option"`
	Requires []string `json:"requires"` // the line of each manifest that names it, as "go.mod: MODULE VERSION"
	Files    int      `json:"files"`    // files with code that name it as a word
	Examples []string `json:"examples"` // the first of them
}

// Surveys measures git repositories, without a model and without a run.
type Surveys interface {
	// Debt ranks files by how often they change times how hard they are to change.
	// ErrInvalid for what is no git repository.
	Debt(ctx context.Context, in GetDebt) (Debt, error)
	// Contribution tells the history of what a change touches. ErrNotFound for a
	// revision that is not there, ErrInvalid when nothing is contributed.
	Contribution(ctx context.Context, in GetContribution) (Contribution, error)
	// Options counts where options are in use already.
	Options(ctx context.Context, in GetOptionFacts) ([]OptionFacts, error)
}

// SurveyOperations are those of the git-worktree service that belong to Surveys.
func SurveyOperations() []Operation {
	return []Operation{
		Op("survey_debt", "POST /surveys/debt", PermitWork, Reads, Surveys.Debt, "Ranks a repository's files by churn times complexity and findings."),
		Op("survey_contribution", "POST /surveys/contribution", PermitWork, Reads, Surveys.Contribution, "Tells of a contribution who changed its files before, what broke, how hot they are, and whether tests came with it."),
		Op("survey_options", "POST /surveys/options", PermitWork, Reads, Surveys.Options, "Counts where a repository uses technologies already, for a decision between them."),
	}
}
