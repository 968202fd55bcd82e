"""The listening test: experts rate clips, blind, and every clip ends with exactly the ratings it needs.

    protocol, schema, database, migrations/   the rules of a study, its tables, the SQLite file
    studies, access                           studies and their raters; codes and devices
    material/                                 a study's clips: from a manifest to normalised files
    session/                                  consent, blind batches, answers, screening, what counts
    results/                                  how a study stands, MOS, how far they can be trusted
    output/                                   results as files, in the layout of the MusicEval release too
    simulated/                                a simulated panel, to plan a study and to prove the rules

This package knows `core`'s data contract, audio reader and demo material, and no web page.
"""
