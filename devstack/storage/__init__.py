"""Files over HTTP as the two official clients send and fetch them: `/storage/v1/`.

Reading order: `files` (the bytes on disk) · `objects` (the rows, under row level security) ·
`service` (what every route needs) · `buckets`, `uploads`, `downloads`, `listing`, `resumable` ·
`routes`.

A row of `storage.objects` decides who may do what; its `version` names the file. A new upload is a
new file, so a name never shows half of one, and no name of a client becomes a path on disk.
"""
