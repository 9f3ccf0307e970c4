package sql

// ReadsOnly tells whether a text is one query that changes nothing, so that it may be run for nothing: it calls no
// function but well-known ones of PostgreSQL. What a view, an operator or a cast calls is not looked at.
func ReadsOnly(text []byte, d Dialect) bool {
	var l lexer
	l.begin(text, d)
	if !l.next() {
		return false
	}
	if v := l.verb(); v != Select && v != With {
		return false
	}
	for l.next() {
		switch {
		case l.ended():
			return !l.next()
		case l.tok.kind == word && changesRows(&l), l.callsUnknown():
			return false
		}
	}
	return true
}

// changesRows tells whether the last token begins what changes data, in a WITH, or makes a table.
func changesRows(l *lexer) bool {
	locks := l.is(l.back(1), "for") || l.is(l.back(1), "key") // rows, for its transaction
	return l.on("insert") || l.on("update") && !locks || l.on("delete") || l.on("merge") || l.on("into")
}

// callsUnknown tells whether the last token is a name before a parenthesis that is none of the functions, types and
// keywords known to change nothing.
func (l *lexer) callsUnknown() bool {
	if l.tok.kind == quoted {
		return l.at(l.peek(), '(')
	}
	if l.tok.kind != word || !l.at(l.peek(), '(') {
		return false
	}
	var b nameBuffer
	name := l.name(l.tok, &b)
	qualified := l.at(l.back(1), '.') && !l.is(l.back(2), "pg_catalog")
	return qualified || !scalars[string(name)] && !readers[string(name)]
}

// readers are such functions and keywords beyond those of one row and one value.
var readers = setOf("age", "array_agg", "array_append", "array_length", "array_position", "array_remove", "array_to_string",
	"as", "avg", "between", "bool_and", "bool_or", "btrim", "by", "cardinality", "ceil", "char", "concat_ws", "count", "cube",
	"date_part", "date_trunc", "dense_rank", "distinct", "every", "except", "filter", "first_value", "floor", "from",
	"generate_series", "having", "initcap", "interval", "join", "json_agg", "json_build_object", "jsonb_agg",
	"jsonb_array_elements", "jsonb_build_object", "lag", "last_value", "lateral", "lead", "like", "limit", "ltrim",
	"materialized", "mod", "ntile", "offset", "on", "over", "partition", "position", "rank", "regexp_replace", "replace", "rollup",
	"round", "row_number", "row_to_json", "rtrim", "sets", "sign", "some", "split_part", "sqrt", "starts_with", "string_agg",
	"string_to_array", "strpos", "sum", "time", "to_char", "to_date", "to_json", "to_jsonb", "to_timestamp", "trim", "trunc",
	"union", "unnest", "using", "values", "varying", "where", "with", "within")
