package playbook

type recordsData struct{}
type recordKnowledge struct{}

func (r *RecordsSpec) data() *recordsData            { return &recordsData{} }
func (r *RecordsSpec) cases(program string) []cliCase { return nil }
func (c *CLISpec) parseRecords(w *wording) bool       { return false }
