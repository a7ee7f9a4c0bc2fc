"""The part of PostgREST that the two official clients send requests to.

Reading order: `syntax` (its query language as text) · `fields`, `filters` (a column or a condition
as SQL) · `reading` (what a request asks to see) · `catalog` (what the database has) · `statements`,
`functions` (the SQL) · `errors`, `answers` (what goes back) · `routes`.

Three rules: identifiers are quoted, values are parameters, and PostgreSQL builds the JSON.
"""
