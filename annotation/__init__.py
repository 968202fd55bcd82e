"""The listening test: experts rate clips, blind, and every clip ends with exactly the ratings it needs.

    protocol, schema, database, migrations/   the rules of a study, its tables, the SQLite file
    studies, clips, ingest, sound, parity     studies and their clips: from a manifest to normalised files
    access, questionnaire                     codes and devices; consent and questions
    assignment, layout, ledger                who gets which clips in which order; what counts for a clip
    listening, reply, pace                    a rater's session: where they stand, their answers, time left
    screening, false_alarms                   hidden checks, exclusions and their undoing
    progress, status, results                 how a study stands; every rating with its standing; MOS
    reliability, agreement, rater_model       how far the ratings can be trusted
    export, musiceval_layout                  results as files, in the layout of the MusicEval release too
    demo_study                                composed clips for visitors
    simulation, stress and what they need     a simulated panel, to plan a study and to prove the rules

This package knows `core`'s data contract, audio reader and demo material, and no web page.
"""
