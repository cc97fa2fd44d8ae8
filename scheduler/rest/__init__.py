"""What the endpoints of all apps have in common: problems, access, pages, answers, routing and the schema.

It knows no domain app; every app's `api.py` builds upon it, `leads.api` shows how, and `scheduler.api` adds the
router. An endpoint declares who may call it (`auth=staff("calls.view_call")`, `staff_or_partner(...)`,
`partner_key` or `PUBLIC`; without one the start-up fails), finds the caller in `request.auth` (a Principal), raises
`NotFound("Call")`, `Problem(409, "code", "Sentence.")` or `Invalid([("/field", "sentence")])`, and answers with
`json_answer`. `response=` is what the schema publishes. Types of path ids, bodies and enum filters are in
`parameters`, objects of answers are a `Shape`, lists come from `page_of`.
"""
