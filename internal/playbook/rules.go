package playbook

import (
	"regexp"
	"slices"
	"strings"
	"sync"
)

// macros are the groups of words that rule patterns are written with.
var macros = strings.NewReplacer(
	"HOLD", `(?:have|has|hold|holds|borrow|borrows|own|owns|keep|make|take|place|book|reserve|create|rent|hire|file|be assigned(?: to)?|enroll in|enrol in|be enrolled in|be enrolled for|register for|sign up for|attend|possess|write|post|submit|leave|buy|purchase|open|loan|check out|contain|accept|teach|request|receive|handle|drive|order|play|park|store|include|take out|give|host|hold in|be responsible for|subscribe to|join|start|begin)`,
	"LENT", `(?:borrowed|lent|loaned|rented|booked|reserved|taken|checked out|hired|assigned|out|on loan|held|used|driven|occupied|on @\w+|in use|loaned out|lent out)`,
	"ADJ", `(?:active|open|current|unreturned|outstanding|ongoing|concurrent|running|pending|simultaneous|unfinished|confirmed)`,
	"ONCE", `(?: at_once| in total| overall)?`,
	"TOBE", `(?:is|are|be|must be|can be|can only be|can be only)`,
	"WHENIT", `(?:if|when|while|once|after|as soon as)(?: it has been| it has already been| it is| it's| they are| already| it was)?(?: already)?`,
	"NUM", `#(\d+)`,
	"@X", `@(\w+)`,
	"OP", `(?:create|add|insert|post|delete|remove|update|edit|change|modify|read|view|see|get|list|access|retrieve|browse|manage|administer|publish|cancel|approve|reject|close|archive|ship|return|complete|reopen|confirm|refund|pay|resolve|search|write|register)`,
)

type rulePattern struct {
	re *regexp.Regexp
	do func(p *reader, c *clause, m []string) bool
}

// patterns are tried in order on a canonical clause; each matches all of it,
// so that no word of the task is passed over.
var patterns = sync.OnceValue(func() []rulePattern {
	list := []struct {
		pattern string
		do      func(p *reader, c *clause, m []string) bool
	}{
		// A number of resources for one other.
		{`@X (?:can|must|is limited to|is) ?(?:only |at most )?HOLD ?(?:only |at most )NUM (ADJ )?@XONCE`, func(p *reader, c *clause, m []string) bool { return p.limit(c, m[1], m[4], cardinal(m[2]), m[3]) }},
		{`@X (?:can )?(?:only )?HOLD (?:only |at most )?NUM (ADJ )?@X( at_once| at most)`, func(p *reader, c *clause, m []string) bool { return p.limit(c, m[1], m[4], cardinal(m[2]), m[3]+m[5]) }},
		{`@X (?:can HOLD|has|have) (?:only )?NUM (ADJ )@X`, func(p *reader, c *clause, m []string) bool { return p.limit(c, m[1], m[4], cardinal(m[2]), m[3]) }},
		{`@X can only HOLD NUM (ADJ )?@XONCE`, func(p *reader, c *clause, m []string) bool { return p.limit(c, m[1], m[4], cardinal(m[2]), m[3]) }},
		{`@X (?:has|have|accepts?|takes?|allows?|fits|holds?|contains?|admits?) at most NUM (ADJ )?@XONCE`, func(p *reader, c *clause, m []string) bool { return p.limit(c, m[1], m[4], cardinal(m[2]), m[3]) }},
		{`@X cannot HOLD above NUM (ADJ )?@XONCE`, func(p *reader, c *clause, m []string) bool { return p.limit(c, m[1], m[4], cardinal(m[2]), m[3]) }},
		{`(?:no )?@X (?:can HOLD|has|have|with) above NUM (ADJ )?@XONCE`, func(p *reader, c *clause, m []string) bool {
			return strings.HasPrefix(strings.ToLower(c.raw), "no ") && p.limit(c, m[1], m[4], cardinal(m[2]), m[3])
		}},
		{`(?:only |at most )NUM (ADJ )?@X (?:per|for|by|in|on|is allowed per|can exist per|can be held by|are allowed per|are allowed for) @XONCE`, func(p *reader, c *clause, m []string) bool { return p.limit(c, m[4], m[3], cardinal(m[1]), m[2]) }},
		{`@X (?:is|are) at most NUM (ADJ )?@XONCE`, func(p *reader, c *clause, m []string) bool { return p.limit(c, m[1], m[4], cardinal(m[2]), m[3]) }},
		{`at most of NUM (ADJ )?@X per @X`, func(p *reader, c *clause, m []string) bool { return p.limit(c, m[4], m[3], cardinal(m[1]), m[2]) }},

		// A number of resources in a day, a week or a month.
		{`@X (?:can|must) (?:only )?HOLD (?:only )?(?:at most )?NUM @X (?:per|in|each|a|on same|within one|within same|in one|in same) (day|week|month)`, func(p *reader, c *clause, m []string) bool { return p.perTime(c, m[1], m[3], m[2], m[4]) }},
		{`@X (?:cannot HOLD above|has at most|have at most) NUM @X (?:per|in|each|a|on same|in one|in same) (day|week|month)`, func(p *reader, c *clause, m []string) bool { return p.perTime(c, m[1], m[3], m[2], m[4]) }},
		{`@X cannot (?:have|HOLD) above #1 @X on same (day)`, func(p *reader, c *clause, m []string) bool { return p.perTime(c, m[1], m[2], "1", m[3]) }},
		{`(?:only |at most )NUM @X per @X (?:per|and|a|each) (day|week|month)`, func(p *reader, c *clause, m []string) bool { return p.perTime(c, m[3], m[2], m[1], m[4]) }},

		// One holder at a time.
		{`@X (?:can|must) (?:only )?be (?:only )?LENT (?:to|by|for|with) (?:only |at most )?(?:exactly )?NUM @XONCE`, func(p *reader, c *clause, m []string) bool { return p.exclusive(c, m[1], m[3], cardinal(m[2]), m[0]) }},
		{`@X (?:can|must) (?:only )?be (?:only )?on @X (?:to|by|for|with) (?:only |at most )?(?:exactly )?NUM @XONCE`, func(p *reader, c *clause, m []string) bool {
			return p.exclusiveIn(c, m[1], m[2], m[4], cardinal(m[3]), m[0])
		}},
		{`(?:only |at most )NUM @X can (?:HOLD) (?:same )?@XONCE`, func(p *reader, c *clause, m []string) bool { return p.exclusive(c, m[3], m[2], cardinal(m[1]), m[0]) }},
		{`@X cannot be LENT (?:to|by|for) (?:above NUM|#2) @XONCE`, func(p *reader, c *clause, m []string) bool {
			n := 1
			if m[2] != "" {
				n = cardinal(m[2])
			}
			return p.exclusive(c, m[1], m[3], n, m[0])
		}},
		{`(?:no )?#2 @X (?:can|cannot) HOLD same @XONCE`, func(p *reader, c *clause, m []string) bool { return p.exclusive(c, m[2], m[1], 1, m[0]) }},
		{`@X cannot be (?:LENT)(?: again)? WHENIT (?:LENT|not available|unavailable)`, func(p *reader, c *clause, m []string) bool { return p.exclusive(c, m[1], "", 1, "at_once") }},
		{`@X (?:that is|which is|that are|already) (?:already )?(?:LENT) cannot be LENT(?: again)?`, func(p *reader, c *clause, m []string) bool { return p.exclusive(c, m[1], "", 1, "at_once") }},
		{`@X cannot be (?:double-booked|double booked|overbooked twice)|@X cannot be LENT (?:twice|(?:twice )?for overlapping (?:times|periods|dates|slots|intervals|time slots))(?: (?:at_once|for same (?:time|period|slot|dates|time slot)|at overlapping times))?`, func(p *reader, c *clause, m []string) bool { return p.exclusive(c, m[1]+m[2], "", 1, "at_once") }},
		{`(?:(?:no )?#2 |no )?(?:overlapping )?@X (?:cannot|can|must not|that) ?(?:overlap|be at_once|be allowed|allowed)?(?: in time)?(?: (?:for|of|in|with|on|at) (?:same )?@X(?: (?:or|and|nor) (?:for |of |in |with )?(?:same )?@X)?)?`, func(p *reader, c *clause, m []string) bool {
			return strings.Contains(strings.ToLower(c.raw), "overlap") && p.overlap(c, m[1], m[2], m[3])
		}},
		{`@X cannot HOLD (?:#2 |overlapping |#2 overlapping )@X(?: at_once| that overlap| at overlapping times)?`, func(p *reader, c *clause, m []string) bool { return p.overlap(c, m[2], m[1], "") }},
		{`@X @X cannot overlap`, func(p *reader, c *clause, m []string) bool { return p.overlap(c, m[2], m[1], "") }},
		{`no overlapping @X(?: (?:for|per|of|in|with) (?:same )?@X)?`, func(p *reader, c *clause, m []string) bool { return p.overlap(c, m[1], m[2], "") }},
		{`(?:(?:no )?#2 )@X (?:of|for|in|at|on|with) (?:same )?@X (?:can|cannot) (?:overlap|be at_once)`, func(p *reader, c *clause, m []string) bool { return p.overlap(c, m[1], m[2], "") }},
		{`@X (?:of|for|in|at|on|with) same @X cannot overlap`, func(p *reader, c *clause, m []string) bool { return p.overlap(c, m[1], m[2], "") }},

		{`@X can (?:only )?be (?:rented|lent|loaned|borrowed|booked|reserved|hired) (?:out )?(?:to|by) (?:only |at most )?#1 (?:person|customer|user|client|guest|member|borrower) at_once`, func(p *reader, c *clause, m []string) bool { return p.exclusive(c, m[1], "", 1, "at_once") }},

		// At most once for a pair.
		{`@X (?:can|cannot) (HOLD|rate|review|like|follow|vote (?:for|on|in)|apply (?:for|to)) (?:(?:for|to|in|on) )?(?:same )?@X (only once|at most once|once|twice|above once|only #1 time|at most #1 time|above #1 time|#2 times|multiple times)`, func(p *reader, c *clause, m []string) bool {
			return p.pair(c, m[1], m[3], m[2])
		}},
		{`@X can (?:only )?HOLD (?:only |at most )?#1 @X (?:per|for each|for|on) (?:same )?@X`, func(p *reader, c *clause, m []string) bool { return p.pairOf(c, m[2], m[1], m[3]) }},
		{`@X can (?:only )?(HOLD|rate|review|like|follow|apply for|apply to) (?:same )?@X only once`, func(p *reader, c *clause, m []string) bool { return p.pair(c, m[1], m[3], m[2]) }},
		{`@X can (?:only )?be (rented|lent|borrowed|booked|reserved|hired|used) (?:only |at most )?once (?:per|on same|on|for) (?:same )?(day|date|@day)`, func(p *reader, c *clause, m []string) bool { return p.daily(c, m[1], m[2]) }},
		{`(?:only |at most )?#1 @X per @X (?:and|per) @X`, func(p *reader, c *clause, m []string) bool { return p.pairOf(c, m[1], m[2], m[3]) }},

		// Capacity.
		{`@X cannot (?:HOLD|have|be) (?:above|more) @X than (?:its |@\w+ )?(\w+(?: \w+)?)(?: allows?)?`, func(p *reader, c *clause, m []string) bool { return p.capacity(c, m[1], m[2], m[3]) }},
		{`@X (?:has|have) (?:no more|at most) @X than (?:its )?(\w+)`, func(p *reader, c *clause, m []string) bool { return p.capacity(c, m[1], m[2], m[3]) }},
		{`(?:number of )?@X (?:for|in|of|per|to|on) @X cannot (?:exceed|be above) (?:@\w+ )?(\w+)`, func(p *reader, c *clause, m []string) bool { return p.capacity(c, m[2], m[1], m[3]) }},
		{`(?:number of )?@X cannot (?:exceed|be above) @X (\w+)`, func(p *reader, c *clause, m []string) bool { return p.capacity(c, m[2], m[1], m[3]) }},
		{`@X (?:is|are|must be) (?:rejected|refused|denied|cannot be allowed) (?:if|when|once) @X is full`, func(p *reader, c *clause, m []string) bool { return p.capacity(c, m[2], m[1], "capacity") }},
		{`(?:no more|not more|at most) @X than (?:@X )?(capacity|seats)(?: of @X)? can be (?:sold|booked|made|created|issued|registered|accepted|taken)`, func(p *reader, c *clause, m []string) bool {
			return p.capacity(c, p.holds(m[1], m[2]+m[4], m[3]), m[1], m[3])
		}},
		{`@X cannot be (?:overbooked|oversold|overfilled|over capacity|above (?:its )?capacity)`, func(p *reader, c *clause, m []string) bool { return p.capacity(c, m[1], "", "capacity") }},
		{`full @X cannot (?:accept|take|have|be|get|be registered|be signed up|be enrolled) ?(?:new |more |further )?(?:@X|booked|for|in)?`, func(p *reader, c *clause, m []string) bool { return p.capacity(c, m[1], m[2], "capacity") }},
		{`(?:@X|no @X|@X) cannot be (?:created|made|accepted|added) (?:if|when|once) @X is full`, func(p *reader, c *clause, m []string) bool { return p.capacity(c, m[4], m[1]+m[2]+m[3], "capacity") }},
		{`(?:number of )?@X (?:cannot exceed|is at most|must be at most|are at most|is limited by|must not exceed|cannot be above) (?:@X )?(capacity|seats|size)(?: of @X)?`, func(p *reader, c *clause, m []string) bool { return p.capacity(c, m[2]+m[4], m[1], m[3]) }},

		// Times.
		{`(?:@X )?([\w-]+(?: [\w-]+){0,2}) (?:must be |must come |is |must )(?:after|later than) (?:@\w+ |its )?([\w-]+(?: [\w-]+){0,2})`, func(p *reader, c *clause, m []string) bool { return p.order(c, m[1], m[2], m[3]) }},
		{`(?:@X )?([\w-]+(?: [\w-]+){0,2}) (?:cannot be |must be |must come |is |cannot come )(?:before|earlier than) (?:@\w+ |its )?([\w-]+(?: [\w-]+){0,2})`, func(p *reader, c *clause, m []string) bool {
			if strings.Contains(m[0], "cannot") {
				return p.order(c, m[1], m[2], m[3])
			}
			return p.order(c, m[1], m[3], m[2])
		}},
		{`@X (?:must )?(?:ends?|finish(?:es)?) after (?:it |they )?(?:starts?|begins?)`, func(p *reader, c *clause, m []string) bool { return p.order(c, m[1], "", "") }},
		{`@X cannot (?:end|finish) before (?:it |they )?(?:starts?|begins?)`, func(p *reader, c *clause, m []string) bool { return p.order(c, m[1], "", "") }},
		{`@X (?:is|are|becomes|become|must be) due (?:back )?(?:after|in|within)? ?NUM (day|week|hour|minute|month)s?(?: (?:after|from|of) (?:it |they |being |its |when it )?(.+))?(?: later)?`, func(p *reader, c *clause, m []string) bool { return p.due(c, m[1], "due_at", m[2], m[3], m[4]) }},
		{`@X (expires?|ends?) (?:after |in )?NUM (day|week|hour|minute|month)s?(?: (?:after|from) (?:it |they |being |its |when it )?(.+))?`, func(p *reader, c *clause, m []string) bool {
			if strings.HasPrefix(m[2], "end") {
				return false
			}
			return p.due(c, m[1], "expires_at", m[3], m[4], m[5])
		}},
		{`(?:@X )?(due(?: date| at)?|expiry(?: date)?|expiration date|expires at) (?:is|must be|is set to) NUM (day|week|hour|minute|month)s? (?:after|from) (?:it |its |@\w+ )?(.+)`, func(p *reader, c *clause, m []string) bool { return p.due(c, m[1], m[2], m[3], m[4], m[5]) }},
		{`@X (?:must be returned|lasts?|(?:is|are) for|period is|runs? for) (?:within |for |after )?NUM (day|week|hour)s?`, func(p *reader, c *clause, m []string) bool {
			e := p.entity(m[1])
			return e != nil && known().nouns[e.Noun].Done == "returned_at" && p.due(c, m[1], "due_at", m[2], m[3], "")
		}},

		{`@X in past (?:is|are|must be) (?:rejected|refused|invalid|cannot be allowed|cannot be possible|forbidden)`, func(p *reader, c *clause, m []string) bool { return p.side(c, m[1], "past", true) }},
		{`@X (?:cannot be (?:longer|above)(?: than)?|cannot last (?:longer than|above)|(?:can |must )?(?:be|lasts?|takes?) at most|(?:is|are) at most|duration (?:is|must be) at most|cannot exceed) NUM (minute|hour|day)s?(?: long| in length| in duration)?`, func(p *reader, c *clause, m []string) bool { return p.span(c, m[1], m[2], m[3], "most") }},
		{`@X (?:cannot be (?:shorter than|under)|cannot last (?:shorter than|under)|(?:can |must )?(?:be|lasts?|takes?) at least|(?:is|are) at least|duration (?:is|must be) at least) NUM (minute|hour|day)s?(?: long| in length| in duration)?`, func(p *reader, c *clause, m []string) bool { return p.span(c, m[1], m[2], m[3], "least") }},
		{`@X (?:must be|cannot be|must start|must take place|cannot start|cannot be (?:made|created|booked|scheduled)|must be (?:made|booked|scheduled)) (?:in|for) (future|past)`, func(p *reader, c *clause, m []string) bool {
			return p.side(c, m[1], m[2], strings.Contains(m[0], "cannot"))
		}},

		// States.
		{`(?:@X )?(?:status |state )?(?:can |must )?(?:only )?(?:goes|go|moves?|transitions?|progress(?:es)?|changes?|advances?|pass(?:es)?|flows?|be changed|be moved)\b(?: (?:its|their))?(?: status| state)? ?(?:only )?(?:from |through |in order )?(\w+(?: ?(?:to|then|->|,|and then|and|or) (?:to |then )?\w+)+)(?: only)?(?: in that order| in this order)?`, func(p *reader, c *clause, m []string) bool { return p.states(c, m[1], m[2]) }},
		{`(?:@X )?(?:status |state )?(?:can |must )?(?:only )?(?:goes|go|moves?|transitions?|changes?|progresses|be changed|be moved)(?: only)? (from \w+ to (?:back to )?\w+(?: or (?:back )?(?:to )?\w+)*(?: ?(?:,|and|or) ?(?:and |or )?from \w+ to (?:back to )?\w+(?: or (?:back )?(?:to )?\w+)*)+)`, func(p *reader, c *clause, m []string) bool { return p.moves(c, m[1], m[2]) }},
		{`(?:@X )?(?:has |have )?(?:status|state) (\w+ -> \w+(?: ?(?:->|/|or) ?\w+)*)`, func(p *reader, c *clause, m []string) bool {
			return p.states(c, m[1], strings.ReplaceAll(m[2], " / ", " or "))
		}},
		{`@X (?:starts?|begins?|is created|are created) (?:out )?(?:as|in|with status|with) (\w+)(?: status| state)?`, func(p *reader, c *clause, m []string) bool { return p.initial(c, m[1], m[2]) }},
		{`new @X (?:starts?|begins?|is|are|has|have)(?: always)?(?: as| in| status| with status)? (\w+)(?: status| state)?`, func(p *reader, c *clause, m []string) bool { return p.initial(c, m[1], m[2]) }},
		{`(?:once |only )?(\w+) @X cannot be (\w+)(?: (?:anymore|any more|any longer|again))?`, func(p *reader, c *clause, m []string) bool {
			return !strings.HasPrefix(m[0], "only ") && p.forbid(c, m[2], m[1], m[3])
		}},
		{`@X (?:that|which) (?:is|are|has been|have been|was|were) (?:already )?(\w+) cannot be (\w+)(?: (?:anymore|again))?`, func(p *reader, c *clause, m []string) bool { return p.forbid(c, m[1], m[2], m[3]) }},
		{`@X cannot be (\w+) WHENIT (\w+)`, func(p *reader, c *clause, m []string) bool { return p.forbid(c, m[1], m[3], m[2]) }},
		{`(?:once|after|when|if) (?:@X|it) (?:is|has been|are|was) (\w+) ,? ?(?:it|they|@\w+) cannot be (\w+)(?: (?:anymore|again))?`, func(p *reader, c *clause, m []string) bool { return p.forbid(c, m[1], m[2], m[3]) }},
		{`(deleting|removing|editing|updating|changing) (\w+) @X (?:cannot be (?:allowed|permitted|possible)|is (?:forbidden|prohibited|refused|rejected))`, func(p *reader, c *clause, m []string) bool {
			return p.forbid(c, m[3], m[2], map[string]string{"delete": "deleted", "update": "updated"}[gerund[m[1]]])
		}},
		{`only (\w+) @X can be (\w+)`, func(p *reader, c *clause, m []string) bool { return p.allow(c, m[2], m[1], m[3]) }},
		{`@X can (?:only be|be) (\w+) (?:only )?(?:if|when|while|as long as) (?:it is |they are |still |it is still )?(\w+)`, func(p *reader, c *clause, m []string) bool { return p.allow(c, m[1], m[3], m[2]) }},

		{`(?:@X )?(?:status |state )(?:starts?|begins?|is initially|initially is) (?:out )?(?:as |in |at |with )?(\w+)`, func(p *reader, c *clause, m []string) bool {
			if m[1] == "" {
				m[1] = snake(p.last)
			}
			return p.initial(c, m[1], m[2])
		}},
		{`(?:@X )?(?:status |state )?(?:goes|go|moves|move|changes|change) to ((?:(?:in|out for|on) )?\w+(?: (?:and then|and|then|->) (?:to )?(?:(?:in|out for|on) )?\w+)*)`, func(p *reader, c *clause, m []string) bool { return p.onward(c, m[1], m[2]) }},

		// Stock.
		{`(?:when |if |once )?(?:placing |creating |making |new )?@X(?: is| are)?(?: placed| created| made)? ?,? ?(?:reduces?|decreases?|decrements?|lowers?|subtracts? from|takes? from|deducts? from|reduce|must reduce)(?: (?:its|available))? ?(?:@X )?(?:quantity|stock|inventory|stock level|stock quantity)(?: of @X)?(?: (?:by|of) .*)?`, func(p *reader, c *clause, m []string) bool { return p.stock(c, m[1], m[2]+m[3]) }},
		{`(?:when|if|once) @X (?:is|are) (?:placed|created|made) ,? ?(?:@X )?(?:quantity|stock|inventory)(?: of @X)? (?:is|are|must be|goes|gets?) (?:reduced|decreased|decremented|lowered|deducted|down)(?: by (?:ordered )?quantity| accordingly)?`, func(p *reader, c *clause, m []string) bool { return p.stock(c, m[1], m[2]+m[3]) }},
		{`(?:@X |@X quantity |you |one |we |people |clients? |customers? |users? |nobody )?(?:cannot (?:order|buy|sell|purchase|request|exceed|be above)|cannot be for) ?(?:above |more )?(?:than )?(?:what )?(?:is |are )?(?:in |available )?(?:@X )?(?:quantity |stock|available|inventory|available quantity|available stock)(?: of @X| is available| available)?`, func(p *reader, c *clause, m []string) bool { return p.stock(c, m[1]+m[2], m[3]+m[4]) }},
		{`@X cannot (?:order|buy|sell|purchase) (?:above|more) (?:@X )?than (?:is |are )?(?:in |available )?(?:stock|available|inventory)`, func(p *reader, c *clause, m []string) bool { return p.stock(c, m[1], m[2]) }},
		{`@X for (?:above|more)(?: than)?(?: is| what is)?(?: in| available)? ?(?:stock|available|inventory) (?:is|are|must be) (?:refused|rejected|denied)`, func(p *reader, c *clause, m []string) bool { return p.stock(c, m[1], "") }},

		// Totals.
		{`(?:@X )?(total(?: \w+)?|amount|total price|price|subtotal)(?: of @X)? (?:is|equals|must be|must equal)(?: computed as| calculated as| sum of)? ?(?:@X )?(?:quantity (?:×|x|\*|times|multiplied by) (?:unit |@X )?price|(?:unit )?price (?:×|x|\*|times) quantity)(?: (?:of|for|over|across) @X| ?of ?@X)?`, func(p *reader, c *clause, m []string) bool {
			return p.total(c, m[1]+m[3], m[2], strings.Contains(m[0], "sum of"))
		}},

		// Who may be refused.
		{`@X (?:with|that has|that have|who has|who have|having|which has) overdue @X cannot (\w+)(?: (?:new |another |more )?@\w+)?`, func(p *reader, c *clause, m []string) bool { return p.blocked(c, m[1], m[2], m[3]) }},
		{`@X cannot (\w+)(?: (?:new |another |more )?@\w+)? (?:if|when|while|as long as) (?:it |they |@\w+ )?(?:has|have) overdue @X`, func(p *reader, c *clause, m []string) bool { return p.blocked(c, m[1], m[3], m[2]) }},
		{`(\w+) @X cannot (HOLD|be LENT)(?: (?:new )?@X)?`, func(p *reader, c *clause, m []string) bool { return p.flag(c, m[2], m[1], m[3], m[4], false) }},
		{`only (\w+) @X can (HOLD|be LENT)(?: (?:new )?@X)?`, func(p *reader, c *clause, m []string) bool { return p.flag(c, m[2], m[1], m[3], m[4], true) }},
		{`@X can only be (?:created|added|posted|made|left|placed|written) (?:on|for|to|in) (\w+) @X`, func(p *reader, c *clause, m []string) bool { return p.flag(c, m[3], m[2], "create", m[1], true) }},
		{`@X cannot be (?:created|added|posted|made|left|placed|written) (?:on|for|to|in) (\w+) @X`, func(p *reader, c *clause, m []string) bool { return p.flag(c, m[3], m[2], "create", m[1], false) }},

		// Pairs of fields.
		{`(?:combination of )?(@?\w+(?: \w+)?) and (@?\w+(?: \w+)?)(?: of @X)? (?:must be |is |are )(?:together )?unique(?: together| in combination)?`, func(p *reader, c *clause, m []string) bool {
			return (strings.Contains(m[0], "together") || strings.Contains(m[0], "combination")) && p.together(c, m[3], m[1], m[2])
		}},
		{`(?:@X )?(\w+(?: \w+)?) and (\w+(?: \w+)?) (?:must be |is |are )(?:unique together|together unique|unique in combination)`, func(p *reader, c *clause, m []string) bool { return p.together(c, m[1], m[2], m[3]) }},

		// Actions.
		{`@X can (\w+)(?: to| for| in)? @X and (\w+) @X`, func(p *reader, c *clause, m []string) bool {
			return known().words.Links[snake(base(m[2]))] == strings.ReplaceAll(m[5], "_", " ") && p.doAndUndo(c, m[1], m[2], m[4], m[3])
		}},
		{`@X can (\w+) @X and (return|cancel) (@\w+|them|it)`, func(p *reader, c *clause, m []string) bool {
			return (!strings.HasPrefix(m[5], "@") || m[5] == "@"+m[3]) && p.doAndUndo(c, m[1], m[2], m[4], m[3])
		}},
		{`@X can (\w+) and (\w+) @X`, func(p *reader, c *clause, m []string) bool { return p.doAndUndo(c, m[1], m[2], m[3], m[4]) }},
		{`@X (?:can )?(borrow|rent|book|reserve|check out|loan|order|buy|enroll in|enrol in|register for|sign up for|subscribe to|review|rate) @X`, func(p *reader, c *clause, m []string) bool { return p.doAndUndo(c, m[1], m[2], "", m[3]) }},
		{`(?:@X can )?(?:be )?(?:mark|marked|complete|completed|return|returned|close|closed|cancel|cancelled|publish|published|archive|archived|finish|finished|pay|paid|resolve|resolved|approve|approved|reject|rejected)`, func(p *reader, c *clause, m []string) bool {
			words := strings.Fields(m[0])
			return m[1] != "" && strings.Contains(m[0], "can be ") && p.action(c, m[1], words[len(words)-1])
		}},
		{`returning @X sets (?:@X )?(?:return date|returned at|return time|returned)`, func(p *reader, c *clause, m []string) bool {
			return (m[2] == "" || m[2] == m[1]) && p.action(c, m[1], "return")
		}},
		{`@X can (return|close|cancel|publish|archive|finish|resolve|complete|approve|reject) @X`, func(p *reader, c *clause, m []string) bool { return p.action(c, m[3], m[2]) }},
		{`@X can be marked (?:as )?(\w+)`, func(p *reader, c *clause, m []string) bool { return p.action(c, m[1], m[2]) }},
		{`@X can mark @X (?:as )?(\w+)`, func(p *reader, c *clause, m []string) bool { return p.action(c, m[2], m[3]) }},

		// Permissions.
		{`only (\w+)(?: (?:and|or) (\w+))?(?: users)? can (OP(?: ?(?:,|and|or|/) ?(?:and |or )?OP)*) (@\w+(?: ?(?:,|and|or) ?(?:and )?@\w+)*|anything|everything)`, func(p *reader, c *clause, m []string) bool { return p.access(c, []string{m[1], m[2]}, m[3], m[4]) }},
		{`(\w+) can (OP(?: ?(?:,|and|or|/) ?(?:and |or )?OP)*) (@\w+(?: ?(?:,|and) ?(?:and )?@\w+)*)`, func(p *reader, c *clause, m []string) bool { return p.access(c, []string{m[1]}, m[2], m[3]) }},
		{`(OP)(?:ing|ting|ling)? (@\w+) (?:is|are) (?:limited|restricted|reserved|only allowed|allowed only|at most) (?:to|for) (\w+)(?: only)?`, func(p *reader, c *clause, m []string) bool { return p.access(c, []string{m[3]}, m[1], m[2]) }},
		{`(creating|adding|deleting|removing|updating|editing|changing) (@\w+) (?:requires|needs|is only for|is for|is limited to|is restricted to|at most) (\w+)(?: role| rights| only)?`, func(p *reader, c *clause, m []string) bool {
			return p.access(c, []string{m[3]}, gerund[m[1]], m[2])
		}},
		{`@X can (?:only )?be (created|added|deleted|removed|updated|edited|changed|viewed|read|listed)(?: only)? by (\w+)(?: only)?`, func(p *reader, c *clause, m []string) bool {
			return p.access(c, []string{m[3]}, participle[m[2]], "@"+m[1])
		}},
		{`@X can (?:only )?(OP(?: ?(?:,|and|or) ?(?:and |or )?OP)*) (?:only )?own @X`, func(p *reader, c *clause, m []string) bool {
			return strings.Contains(m[0], "only") && p.own(c, m[1], m[2], m[3])
		}},
		{`@X cannot (OP(?: ?(?:,|and|or) ?(?:and |or )?OP)*) (?:other|another|someone else|other user|other people|others|each other|one another|@\w+ of other|@\w+ of others) ?(?:'s? |@\w+ )?(?:@X)?`, func(p *reader, c *clause, m []string) bool { return m[3] != "" && p.own(c, m[1], m[2], m[3]) }},
		{`@X can only be (seen|viewed|read|edited|updated|changed|deleted|accessed)(?: (?:and|or) (edited|updated|changed|deleted))? by (?:owner|its owner|@X|@X who created it|author|creator)`, func(p *reader, c *clause, m []string) bool {
			who := m[4] + m[5]
			if who == "" {
				who = "user"
			}
			return p.own(c, who, participle[m[2]]+" "+participle[m[3]], m[1])
		}},
		{`only (?:owner|author|creator|@X)(?: of @X)? can (OP(?: ?(?:,|and|or) ?(?:and |or )?OP)*) (?:it|@X)`, func(p *reader, c *clause, m []string) bool {
			noun, who := m[2]+m[4], m[1]
			if noun == "" {
				noun = snake(p.last)
			}
			if m[2] != "" && m[4] != "" {
				noun = m[4]
			}
			if who == "" {
				who = "user"
			}
			return p.own(c, who, m[3], noun)
		}},

		{`(?:anyone|everyone|everybody|visitors?|public|guests?|(?:unauthenticated|anonymous) (?:users?|@user|visitors?|clients?|callers)) can (OP(?: ?(?:,|and|or|/) ?(?:and |or )?OP)*) (@\w+(?: ?(?:,|and) ?(?:and )?@\w+)*)`, func(p *reader, c *clause, m []string) bool { return p.open(c, m[1], m[2], "") }},
		{`(?:reading|listing|viewing|browsing) @X(?: and @X)? (?:is |are )?(?:public|open(?: to everyone| to anyone| to all)?|needs no (?:login|token|authentication)|cannot (?:require|need) (?:login|token|authentication))`, func(p *reader, c *clause, m []string) bool {
			return p.open(c, "read", strings.TrimSpace("@"+m[1]+" @"+m[2]), "")
		}},
		{`(?:only )?(?:(?:logged[ -]in|signed[ -]in|authenticated|registered) (?:users?|@user|people|callers|clients)|(?:anyone|everyone|users?|@user|those) (?:who is |who are )?(?:logged in|signed in|authenticated)) can (?:only )?(OP(?: ?(?:,|and|or|/) ?(?:and |or )?OP)*) (@\w+(?: ?(?:,|and) ?(?:and )?@\w+)*|anything|everything)`, func(p *reader, c *clause, m []string) bool { return p.open(c, m[1], m[2], "login") }},

		// What every service does.
		{`(?:@X|clients?|people|anyone|everyone|visitors?|we|you|i|it|api|service) (?:can|must) (?:be able to )?(?:create|add|list|read|view|get|see|update|edit|delete|remove|manage|browse|register|retrieve|fetch|store|crud|modify|change|look up)(?: ?(?:,|and|or|/) ?(?:and )?(?:create|add|list|read|view|get|see|update|edit|delete|remove|manage|browse|retrieve|fetch|modify|change))* (?:new |own )?(@\w+(?: ?(?:,|and) ?(?:and )?@\w+)*)`, func(p *reader, c *clause, m []string) bool {
			return p.given(c, m[0])
		}},
		{`(?:support |supports |supporting |with |for |to )?(?:full |basic |standard )?(?:crud(?: operations?| endpoints?)?|(?:create|add|list|read|update|delete|get|edit|remove|manage|view|fetch|retrieve)(?: ?(?:,|and|or|/) ?(?:and )?(?:create|add|list|read|update|delete|get|edit|remove|view|fetch|retrieve))*)(?: (?:for|on|of))? (@\w+(?: ?(?:,|and) ?(?:and )?@\w+)*)`, func(p *reader, c *clause, m []string) bool {
			return p.given(c, m[0])
		}},
		{`@X can be (?:created|added|listed|read|updated|deleted|removed|edited|viewed|retrieved)(?: ?(?:,|and|or) ?(?:and )?(?:created|added|listed|read|updated|deleted|removed|edited|viewed|retrieved))*`, func(p *reader, c *clause, m []string) bool { return p.given(c, m[0]) }},
		{`(?:@X can |clients? can |can |support |supports |allow )?(?:list|listing|filter|filtering|search|searching|sort|sorting|find|finding|query|view|get|look up|filters|search for)(?: (?:and|or) (?:filter|search|sort))? @X (?:by|for|of|on) (.+)`, func(p *reader, c *clause, m []string) bool { return p.find(c, m[2], m[3]) }},
		{`(?:search|searching|filter|filtering|sort|sorting) by (.+)`, func(p *reader, c *clause, m []string) bool {
			return len(p.spec.Entities) == 1 && p.find(c, snake(p.spec.Entities[0].Noun), m[1])
		}},
		{`(?:search|find|filter|list|sort) @X by (.+?) and (?:to )?(?:filter|sort|search)(?: (?:@X|them))? by (.+)`, func(p *reader, c *clause, m []string) bool {
			return (m[3] == "" || m[3] == m[1]) && p.find(c, m[1], m[2]) && p.find(c, m[1], m[4])
		}},
		{`@X can be (?:listed|filtered|searched|sorted|found|queried|looked up)(?: (?:and|or) (?:filtered|searched|sorted|paginated))? by (.+)`, func(p *reader, c *clause, m []string) bool { return p.find(c, m[1], m[2]) }},
		{`(?:@X can )?(?:list|show|get|view|see|return|return list of|returns) @X,? (?:sorted|ordered|filtered) by (.+)`, func(p *reader, c *clause, m []string) bool { return p.find(c, m[2], m[3]) }},
		{`(?:@X can )?(?:search|search for|filter|sort|paginate|find) @X|@X can be (?:searched|sorted|filtered|paginated)|(?:list|lists) of @X (?:is|are) paginated|@X (?:list|lists) (?:is|are) paginated`, func(p *reader, c *clause, m []string) bool { return p.given(c, m[0]) }},
		{`(?:@X can )?(?:list|see|view|get|find|show) overdue @X|overdue @X can be (?:listed|seen|found)`, func(p *reader, c *clause, m []string) bool { return p.overdue(c, m[2]+m[3]) }},
	}
	out := make([]rulePattern, len(list))
	for i, r := range list {
		out[i] = rulePattern{regexp.MustCompile(`^(?:` + macros.Replace(r.pattern) + `)$`), r.do}
	}
	return out
})

var (
	gerund     = map[string]string{"creating": "create", "adding": "create", "deleting": "delete", "removing": "delete", "updating": "update", "editing": "update", "changing": "update"}
	participle = map[string]string{"created": "create", "added": "create", "deleted": "delete", "removed": "delete", "updated": "update", "edited": "update", "changed": "update", "modified": "update", "viewed": "read", "seen": "read", "read": "read", "listed": "read", "accessed": "manage"}
)

// rule reads everything else: what may and may not happen, and abilities.
func (p *reader) rule(c *clause, s string) bool {
	if p.feature(c.raw, s) {
		return true
	}
	for _, pattern := range patterns() {
		m := pattern.re.FindStringSubmatch(s)
		if m == nil {
			continue
		}
		n, u := len(p.spec.Rules), len(p.spec.Covered)
		if pattern.do(p, c, m) {
			return true
		}
		p.spec.Rules, p.spec.Covered = p.spec.Rules[:n], p.spec.Covered[:u]
	}
	return false
}

func (p *reader) addRule(r Rule) bool {
	for i := range p.spec.Rules {
		if old := &p.spec.Rules[i]; r.Kind == RuleOrder && old.Kind == RuleOrder && old.Entity == r.Entity && old.Start == r.Start && old.End == r.End {
			if old.Clause != r.Clause {
				old.Clause += "; " + r.Clause
			}
			return true
		}
	}
	p.spec.Rules = append(p.spec.Rules, r)
	return true
}

// state finds what an adjective says about rows of e: a value of an
// enumeration, or a flag. want is the value that makes it true.
func (e *Entity) state(adjective string) (f *Field, want string, ok bool) {
	adjective = snakeValue(adjective)
	for i := range e.Fields {
		if e.Fields[i].Type == Enum && slices.Contains(e.Fields[i].Values, adjective) {
			return &e.Fields[i], adjective, true
		}
	}
	if f := e.field(adjective); f != nil && f.Type == Bool {
		return f, "true", true
	}
	if f := e.field("is_" + adjective); f != nil && f.Type == Bool {
		return f, "true", true
	}
	for _, prefix := range []string{"in", "un", "not "} {
		if rest, cut := strings.CutPrefix(adjective, prefix); cut {
			if f := e.field(rest); f != nil && f.Type == Bool {
				return f, "false", true
			}
		}
	}
	return nil, "", false
}
