"""The listening test: experts rate clips, blind, and every clip ends with exactly the ratings it needs.

    protocol, rules                           what a study asks for; what fails a rater's batch
    schema, database, migrations/             its tables, in one SQLite file
    studies                                   studies and their raters; access codes and devices
    material/                                 a study's clips: from a clip list to normalised files
    session/                                  consent, blind batches, answers, exclusions, what counts
    results/                                  how a study stands, MOS, how far they can be trusted
    export                                    results as files, in the layout of the MusicEval release too
    simulate, stress, plans                   a simulated panel, to plan a study and to prove the rules
    cli                                       the commands of ``python -m annotation``

This package knows `core`'s data contract, audio reader and files, and no web page.
"""
