BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0001');
CREATE TABLE answers (
	id INTEGER NOT NULL, 
	rater_id INTEGER NOT NULL, 
	question VARCHAR NOT NULL, 
	answer VARCHAR NOT NULL, 
	given_at DATETIME NOT NULL, 
	PRIMARY KEY (id), 
	FOREIGN KEY(rater_id) REFERENCES raters (id)
);
INSERT INTO "answers" VALUES(1,1,'training','student of music','2026-11-18 12:29:00.000000');
INSERT INTO "answers" VALUES(2,1,'instrument','=cello(), Geige','2026-11-18 12:29:00.000000');
INSERT INTO "answers" VALUES(3,1,'headphones','headphones','2026-11-18 12:29:00.000000');
INSERT INTO "answers" VALUES(4,2,'training','none','2026-11-18 18:29:00.000000');
INSERT INTO "answers" VALUES(5,3,'training','professional or teacher of music','2026-11-19 12:29:00.000000');
INSERT INTO "answers" VALUES(6,3,'headphones','earphones','2026-11-19 12:29:00.000000');
INSERT INTO "answers" VALUES(7,4,'headphones','loudspeakers','2026-11-19 17:29:00.000000');
INSERT INTO "answers" VALUES(8,5,'training','student of music','2026-11-20 12:29:00.000000');
INSERT INTO "answers" VALUES(9,5,'instrument','=cello(), Geige','2026-11-20 12:29:00.000000');
INSERT INTO "answers" VALUES(10,5,'headphones','headphones','2026-11-20 12:29:00.000000');
INSERT INTO "answers" VALUES(11,12,'instrument','Klavier','2026-11-22 18:29:00.000000');
INSERT INTO "answers" VALUES(12,7,'training','none','2026-11-26 12:21:00.000000');
INSERT INTO "answers" VALUES(13,7,'instrument','voice','2026-11-26 12:21:00.000000');
INSERT INTO "answers" VALUES(14,8,'headphones','earphones','2026-11-26 12:28:00.000000');
CREATE TABLE batches (
	id INTEGER NOT NULL, 
	study_id INTEGER NOT NULL, 
	rater_id INTEGER NOT NULL, 
	number INTEGER NOT NULL, 
	state VARCHAR NOT NULL, 
	short BOOLEAN NOT NULL, 
	opened_at DATETIME NOT NULL, 
	lease_until DATETIME NOT NULL, 
	closed_at DATETIME, 
	PRIMARY KEY (id), 
	CONSTRAINT state_known CHECK (state IN ('open', 'valid', 'excluded')), 
	FOREIGN KEY(rater_id) REFERENCES raters (id), 
	FOREIGN KEY(study_id) REFERENCES studies (id), 
	UNIQUE (rater_id, number)
);
INSERT INTO "batches" VALUES(1,1,9,0,'valid',0,'2026-11-17 14:29:00.000000','2026-11-17 15:14:30.000000','2026-11-17 14:29:30.000000');
INSERT INTO "batches" VALUES(2,1,9,1,'excluded',0,'2026-11-17 14:39:30.000000','2026-11-17 15:24:50.000000','2026-11-26 12:21:00.000000');
INSERT INTO "batches" VALUES(3,1,1,0,'valid',0,'2026-11-18 12:29:00.000000','2026-11-18 13:14:30.000000','2026-11-18 12:29:30.000000');
INSERT INTO "batches" VALUES(4,1,1,1,'valid',0,'2026-11-18 12:39:30.000000','2026-11-18 13:26:23.333375','2026-11-18 12:41:23.333375');
INSERT INTO "batches" VALUES(5,1,1,2,'valid',0,'2026-11-18 15:51:23.333375','2026-11-18 16:38:17.333375','2026-11-18 15:53:17.333375');
INSERT INTO "batches" VALUES(6,1,2,0,'valid',0,'2026-11-18 18:29:00.000000','2026-11-18 19:14:30.000000','2026-11-18 18:29:30.000000');
INSERT INTO "batches" VALUES(7,1,2,1,'excluded',0,'2026-11-18 18:39:30.000000','2026-11-18 19:26:23.333375','2026-11-18 18:41:23.333375');
INSERT INTO "batches" VALUES(8,1,2,2,'valid',0,'2026-11-18 18:51:23.333375','2026-11-18 19:38:17.333375','2026-11-18 18:53:17.333375');
INSERT INTO "batches" VALUES(9,1,2,3,'valid',1,'2026-11-18 19:03:17.333375','2026-11-18 19:49:16.666750','2026-11-18 19:04:16.666750');
INSERT INTO "batches" VALUES(10,1,3,0,'valid',0,'2026-11-19 12:29:00.000000','2026-11-19 13:14:30.000000','2026-11-19 12:29:30.000000');
INSERT INTO "batches" VALUES(11,1,3,1,'excluded',0,'2026-11-19 12:39:30.000000','2026-11-19 13:25:59.333375','2026-11-19 12:40:59.333375');
INSERT INTO "batches" VALUES(12,1,3,2,'valid',0,'2026-11-19 12:50:59.333375','2026-11-19 13:37:53.333375','2026-11-19 12:52:53.333375');
INSERT INTO "batches" VALUES(13,1,4,0,'valid',0,'2026-11-19 17:29:00.000000','2026-11-19 18:14:30.000000','2026-11-19 17:29:30.000000');
INSERT INTO "batches" VALUES(14,1,4,1,'excluded',0,'2026-11-19 17:39:30.000000','2026-11-19 18:26:00.000000','2026-11-19 17:41:00.000000');
INSERT INTO "batches" VALUES(15,1,4,2,'excluded',0,'2026-11-19 17:51:00.000000','2026-11-19 18:37:54.000000','2026-11-19 17:52:54.000000');
INSERT INTO "batches" VALUES(16,1,5,0,'valid',0,'2026-11-20 12:29:00.000000','2026-11-20 13:14:30.000000','2026-11-20 12:29:30.000000');
INSERT INTO "batches" VALUES(17,1,5,1,'valid',0,'2026-11-20 12:39:30.000000','2026-11-20 13:26:19.000000','2026-11-20 12:41:19.000000');
INSERT INTO "batches" VALUES(18,1,10,0,'valid',0,'2026-11-20 18:29:00.000000','2026-11-20 19:14:30.000000','2026-11-20 18:29:30.000000');
INSERT INTO "batches" VALUES(19,1,10,1,'valid',0,'2026-11-20 18:39:30.000000','2026-11-20 19:26:24.000000','2026-11-20 18:41:24.000000');
INSERT INTO "batches" VALUES(20,1,6,0,'valid',0,'2026-11-21 12:29:00.000000','2026-11-21 13:14:13.500000','2026-11-21 12:29:13.500000');
INSERT INTO "batches" VALUES(21,1,6,1,'valid',0,'2026-11-21 12:39:13.500000','2026-11-21 13:24:51.533375','2026-11-21 12:39:51.533375');
INSERT INTO "batches" VALUES(22,1,6,2,'valid',0,'2026-11-21 12:49:51.533375','2026-11-21 13:35:30.233375','2026-11-21 12:50:30.233375');
INSERT INTO "batches" VALUES(23,1,11,0,'valid',0,'2026-11-21 17:29:00.000000','2026-11-21 18:14:30.000000','2026-11-21 17:29:30.000000');
INSERT INTO "batches" VALUES(24,1,11,1,'valid',0,'2026-11-21 17:39:30.000000','2026-11-21 18:26:23.333375','2026-11-21 17:41:23.333375');
INSERT INTO "batches" VALUES(25,1,11,2,'valid',0,'2026-11-21 17:51:23.333375','2026-11-21 18:38:17.333375','2026-11-21 17:53:17.333375');
INSERT INTO "batches" VALUES(26,1,10,2,'valid',1,'2026-11-22 12:29:00.000000','2026-11-22 13:14:59.333375','2026-11-22 12:29:59.333375');
INSERT INTO "batches" VALUES(27,1,1,3,'valid',1,'2026-11-22 15:29:00.000000','2026-11-22 16:14:30.000000','2026-11-22 15:29:30.000000');
INSERT INTO "batches" VALUES(28,1,12,0,'valid',0,'2026-11-22 18:29:00.000000','2026-11-22 19:14:30.000000','2026-11-22 18:29:30.000000');
INSERT INTO "batches" VALUES(29,1,12,1,'valid',0,'2026-11-22 18:39:30.000000','2026-11-22 19:26:24.000000','2026-11-22 18:41:24.000000');
INSERT INTO "batches" VALUES(30,2,13,1,'valid',0,'2026-11-23 15:29:00.000000','2026-11-23 17:00:18.000000','2026-11-23 15:30:18.000000');
INSERT INTO "batches" VALUES(31,2,13,2,'valid',0,'2026-11-23 15:40:18.000000','2026-11-23 17:11:36.000000','2026-11-23 15:41:36.000000');
INSERT INTO "batches" VALUES(32,2,14,1,'excluded',0,'2026-11-23 17:29:00.000000','2026-11-23 19:00:18.000000','2026-11-23 17:30:18.000000');
INSERT INTO "batches" VALUES(33,2,14,2,'excluded',0,'2026-11-23 17:40:18.000000','2026-11-23 19:11:36.000000','2026-11-23 17:41:36.000000');
INSERT INTO "batches" VALUES(34,2,15,1,'open',0,'2026-11-23 19:29:00.000000','2026-11-23 20:59:27.000000',NULL);
INSERT INTO "batches" VALUES(35,1,7,0,'valid',0,'2026-11-26 12:21:00.000000','2026-11-26 13:06:30.000000','2026-11-26 12:21:30.000000');
INSERT INTO "batches" VALUES(36,1,7,1,'open',0,'2026-11-26 12:25:00.000000','2026-11-26 13:10:40.000000',NULL);
CREATE TABLE clips (
	id INTEGER NOT NULL, 
	study_id INTEGER NOT NULL, 
	kind VARCHAR NOT NULL, 
	system_id INTEGER NOT NULL, 
	prompt_id INTEGER NOT NULL, 
	name VARCHAR NOT NULL, 
	source_file VARCHAR NOT NULL, 
	source_sha256 VARCHAR NOT NULL, 
	duration_s DOUBLE NOT NULL, 
	loudness_lufs DOUBLE, 
	gain_db DOUBLE NOT NULL, 
	gain_lowered BOOLEAN NOT NULL, 
	expected_musical_impression DOUBLE, 
	expected_textual_alignment DOUBLE, 
	explanation VARCHAR, 
	added_at DATETIME NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT kind_known CHECK (kind IN ('stimulus', 'anchor', 'training')), 
	FOREIGN KEY(prompt_id) REFERENCES prompts (id), 
	FOREIGN KEY(study_id) REFERENCES studies (id), 
	FOREIGN KEY(system_id) REFERENCES systems (id), 
	UNIQUE (name), 
	UNIQUE (study_id, kind, system_id, prompt_id, source_sha256)
);
INSERT INTO "clips" VALUES(1,1,'stimulus',1,1,'d54ec3c3c4e9061a50a0c3a45e4832c9','ttm/specgen_0.flac','135cb48d1017ab752b2034275cf6f2f9b40081336085f6234d28f373d431c2c2',4.0,-23.0,-1.35483215321632144423e+00,0,NULL,NULL,NULL,'2026-11-17 12:30:00.000000');
INSERT INTO "clips" VALUES(2,1,'stimulus',1,2,'195d531d01c06e2114d572bee12e5754','ttm/specgen_12.flac','d7bfc4f9bdb3f413ac85272797d31656ee46478fb212821d6e773a88801553bb',4.0,-23.0,-1.16445050579173123848e+01,0,NULL,NULL,NULL,'2026-11-17 12:30:00.000000');
INSERT INTO "clips" VALUES(3,1,'stimulus',1,3,'d0762e132892486886b8f13ddc85d928','ttm/specgen_21.flac','70967cd756a21558bf3b2f5888a0683399b1a6afac9d3f16718ac3e6330fbd0b',4.0,-23.0,-1.30395025623864935226e+01,0,NULL,NULL,NULL,'2026-11-17 12:30:00.000000');
INSERT INTO "clips" VALUES(4,1,'stimulus',1,4,'484e785e4d14a3487e4c8310b25a0b9f','ttm/specgen_32.flac','5770452789f080531eb4df800603a1a67653e3df3e7ac3439dbafdab0ddd2e73',4.0,-23.0,-8.78261478368446368847e+00,0,NULL,NULL,NULL,'2026-11-17 12:30:00.000000');
INSERT INTO "clips" VALUES(5,1,'stimulus',1,5,'99dfd567f32f4750fcca66a2b66aa7b6','ttm/specgen_43.flac','81aefc998919c5a1f26750faf40d6e8be71472b0c4d1f0c9df38749be60c0696',4.0,-23.0,-6.19631389305047619586e+00,0,NULL,NULL,NULL,'2026-11-17 12:30:00.000000');
INSERT INTO "clips" VALUES(6,1,'stimulus',1,6,'429db81ad754ac33300103765f103d17','ttm/specgen_64.flac','39227dff252385cc34f0b214772e1d9204574f089c306940c94b4e2f83be2ea1',4.0,-23.0,-1.20154011937394482605e+01,0,NULL,NULL,NULL,'2026-11-17 12:30:00.000000');
INSERT INTO "clips" VALUES(7,1,'stimulus',2,1,'77fa6483e58ae6f773f9192d13da6021','ttm/wavegen_0.flac','5423ada86a354efd106753bcfb742eb80aa6ef4ac798f11ff0ba112fc9d0a592',4.0,-23.0,-1.27301795239397677053e+01,0,NULL,NULL,NULL,'2026-11-17 12:30:00.000000');
INSERT INTO "clips" VALUES(8,1,'stimulus',2,2,'0775ff20a653150554566236401cd6fa','ttm/wavegen_12.flac','e2afb1f2031bbb96469dc67ae39fd5c62e39d48bd20fd183d6ae35848931cf5b',4.0,-23.0,-1.22100595762833723516e+01,0,NULL,NULL,NULL,'2026-11-17 12:30:00.000000');
INSERT INTO "clips" VALUES(9,1,'stimulus',2,3,'d1876cf4d2078d2e7f75272cf835d4a2','ttm/wavegen_21.flac','fe87d8412042e0f69ce4ed9d06b30d68cfb134d9be24749d121bc39d23d0ecbb',4.0,-23.0,-1.41375033177805438096e+01,0,NULL,NULL,NULL,'2026-11-17 12:30:00.000000');
INSERT INTO "clips" VALUES(10,1,'stimulus',2,4,'b94665085ec3b98312efb818dc18dac7','ttm/wavegen_32.flac','486910ff310240f2e63690e74eb3c49cd042535073e578158fab666be0106493',4.0,-23.0,-3.02486242029976892808e+00,0,NULL,NULL,NULL,'2026-11-17 12:30:00.000000');
INSERT INTO "clips" VALUES(11,1,'stimulus',2,5,'c30ab4c3f22d24fa2b209291955bcbb9','ttm/wavegen_43.flac','e6581be10bde2ff9a95d8075f808b95072b4bcbac74706f0608684ff21930c37',4.0,-23.0,-1.14482312189701769251e+01,0,NULL,NULL,NULL,'2026-11-17 12:30:00.000000');
INSERT INTO "clips" VALUES(12,1,'stimulus',2,6,'b34d35e7fd422b4d28a89fc08c669161','ttm/wavegen_64.flac','22ba1608486139a4076c739e8651496d03fbca382b5c52424926dac1f85f25b1',4.0,-23.0,-7.35744862122119158698e+00,0,NULL,NULL,NULL,'2026-11-17 12:30:00.000000');
INSERT INTO "clips" VALUES(13,1,'stimulus',3,7,'d722c31958896e32dbfdf69b5f8e3d20','survey_a/clips/1.mp3','f95a55f02dd44669a44a02ea00a9305023a0f6a3db9c4bce8c8ea0b9e03734c4',4.0,-23.0,5.36960135878682720544e+00,0,NULL,NULL,NULL,'2026-11-17 12:30:00.000000');
INSERT INTO "clips" VALUES(14,1,'stimulus',3,8,'da4e586ac81d6d4af92b436df02d5da1','survey_a/clips/29.mp3','203b1ea1e0ca9961035951bf336418967dd7cb64df5c019145e6294d02c0619f',4.0,-23.0,5.77212857151928204757e+00,0,NULL,NULL,NULL,'2026-11-17 12:30:00.000000');
INSERT INTO "clips" VALUES(15,1,'stimulus',3,9,'3b30c4d1d190e9625da7edd41e59526e','survey_a/clips/57.mp3','5fb6d8282796a3456aba299b4dcfac555d1c73ed29a924a4fb23293c187fb331',4.0,-23.0,6.31984980849711774908e+00,0,NULL,NULL,NULL,'2026-11-17 12:30:00.000000');
INSERT INTO "clips" VALUES(16,1,'training',4,10,'fbf93102a136a50ccbdadde2e6dc5cd4','composed/piano-at-rest.wav','ce630cc60f977ed1d32b1a564b72e85f76e5b47f1385d79e7d5454b95bda2016',4.0,-23.0,-8.88814514954798440271e+00,0,4.0,5.0,'Clean, steady, and all that was asked for is there.','2026-11-17 12:30:00.000000');
INSERT INTO "clips" VALUES(17,1,'training',4,11,'fa98865949799719ba4244fb37dd7a3c','composed/waltz-in-shreds.wav','558b5a7d5e5419e447ee293689549d6c56f1280934726ed154568195907d3c4a',4.0,-23.0,-8.09752684953283896618e+00,0,2.0,1.5,'Holes and metal, and no lullaby.','2026-11-17 12:30:00.000000');
INSERT INTO "clips" VALUES(18,1,'training',4,12,'32055bea776cf4e2aebb3492e01ceeeb','composed/jazz-trio.wav','5125b5aaa99e43d0d7685b8479b99432f8ab3775e0718830a4c894411d74006b',4.0,-23.0,-6.02448988570204591042e+00,0,NULL,4.0,NULL,'2026-11-17 12:30:00.000000');
INSERT INTO "clips" VALUES(19,1,'anchor',5,13,'0d35be923adcc084767556aaa52b271f','anchors/hungarian_dance_5.ogg','919b48aa4cc66a0357d2cd5728664c5ab8f15c4b3469460df4b59470d35d3e49',4.0,-23.0,-1.20870007045753879992e+00,0,NULL,NULL,NULL,'2026-11-17 12:30:00.000000');
INSERT INTO "clips" VALUES(20,1,'anchor',5,14,'ad719339ba16fcb161a8bd1e60d47227','anchors/lets_go_fishin.ogg','27b3667c396c1831511aa3c415fcf582b6e8be560cafb844c5b67b76b72c1cb3',4.0,-23.0,-2.04881787033644613416e+00,0,NULL,NULL,NULL,'2026-11-17 12:30:00.000000');
INSERT INTO "clips" VALUES(21,1,'anchor',5,15,'b9d4b9c8b2d3827e55495d615d5aea58','anchors/solo_trumpet.ogg','8374466fd3951d24509da6e799b132a0db0bdeda69d99c69d989a6888d3d727d',3.333375,-23.0,-2.49158969297469923276e+00,0,NULL,NULL,NULL,'2026-11-17 12:30:00.000000');
INSERT INTO "clips" VALUES(22,1,'anchor',5,16,'903b86f99d637aa247379fd5daac850c','anchors/sugar_plum_fairy.ogg','b5c1a3e26310e6618d3c124f458654cd235650fcb9db7d711302644566600484',4.0,-23.0,1.23842457542255957037e+01,0,NULL,NULL,NULL,'2026-11-17 12:30:00.000000');
INSERT INTO "clips" VALUES(23,1,'anchor',5,17,'ad1da6e9b3930168531466c5544aecef','anchors/vibe_ace.ogg','6c23aed3dd5aa57f2b1652ecab68d15d9b82ad257f54e639eb2880ca09bc118a',4.0,-23.0,1.47022628403583155431e+00,0,NULL,NULL,NULL,'2026-11-17 12:30:00.000000');
INSERT INTO "clips" VALUES(24,2,'stimulus',6,18,'8ad779a8e74c49d5024bf2ccff945115','ttm/specgen_0.flac','135cb48d1017ab752b2034275cf6f2f9b40081336085f6234d28f373d431c2c2',3.0,-23.0,3.87038569629610904607e+01,0,NULL,NULL,NULL,'2026-11-17 12:36:00.000000');
INSERT INTO "clips" VALUES(25,2,'stimulus',6,19,'e05c0e217e1b1e51992ea51f646bc5c2','ttm/specgen_12.flac','d7bfc4f9bdb3f413ac85272797d31656ee46478fb212821d6e773a88801553bb',3.0,-23.0,-1.1783673145299822238e+01,0,NULL,NULL,NULL,'2026-11-17 12:36:00.000000');
INSERT INTO "clips" VALUES(26,2,'stimulus',6,20,'93285e85d0caeb51d494263c95d0372b','ttm/specgen_21.flac','70967cd756a21558bf3b2f5888a0683399b1a6afac9d3f16718ac3e6330fbd0b',3.0,-23.0,-1.32762255437545402254e+01,0,NULL,NULL,NULL,'2026-11-17 12:36:00.000000');
INSERT INTO "clips" VALUES(27,2,'stimulus',6,21,'bb2eedb0d26068afff59a450d476fd0a','ttm/specgen_32.flac','5770452789f080531eb4df800603a1a67653e3df3e7ac3439dbafdab0ddd2e73',3.0,-23.0,-9.20340474986546830393e+00,0,NULL,NULL,NULL,'2026-11-17 12:36:00.000000');
INSERT INTO "clips" VALUES(28,2,'stimulus',6,22,'9557e2b7dadca88810754eaf85f22e5b','ttm/specgen_43.flac','81aefc998919c5a1f26750faf40d6e8be71472b0c4d1f0c9df38749be60c0696',3.0,-23.0,4.23757745563666077259e+00,0,NULL,NULL,NULL,'2026-11-17 12:36:00.000000');
INSERT INTO "clips" VALUES(29,2,'stimulus',6,23,'1bb2690b5f9962765ce25f959f4c0f31','ttm/specgen_64.flac','39227dff252385cc34f0b214772e1d9204574f089c306940c94b4e2f83be2ea1',3.0,-23.0,1.05349637253688683809e+01,0,NULL,NULL,NULL,'2026-11-17 12:36:00.000000');
INSERT INTO "clips" VALUES(30,2,'stimulus',7,18,'352519594e3e6fb222996bc476d2fd33','ttm/wavegen_0.flac','5423ada86a354efd106753bcfb742eb80aa6ef4ac798f11ff0ba112fc9d0a592',3.0,-23.0,-1.36068412536690406253e+01,0,NULL,NULL,NULL,'2026-11-17 12:36:00.000000');
INSERT INTO "clips" VALUES(31,2,'stimulus',7,19,'2d42bfc21c22890a7a1e312348300aca','ttm/wavegen_12.flac','e2afb1f2031bbb96469dc67ae39fd5c62e39d48bd20fd183d6ae35848931cf5b',3.0,-23.0,-1.23163062460431689255e+01,0,NULL,NULL,NULL,'2026-11-17 12:36:00.000000');
INSERT INTO "clips" VALUES(32,2,'anchor',8,24,'1b569b9b3acaf4baf5f004ccfeb6d416','anchors/hungarian_dance_5.ogg','919b48aa4cc66a0357d2cd5728664c5ab8f15c4b3469460df4b59470d35d3e49',3.0,-23.0,-2.20124386424761908642e+00,0,NULL,NULL,NULL,'2026-11-17 12:36:00.000000');
INSERT INTO "clips" VALUES(33,2,'anchor',8,25,'2ba8464b2264f58c6331566665c94653','anchors/lets_go_fishin.ogg','27b3667c396c1831511aa3c415fcf582b6e8be560cafb844c5b67b76b72c1cb3',3.0,-23.0,-2.69176630772506086941e+00,0,NULL,NULL,NULL,'2026-11-17 12:36:00.000000');
CREATE TABLE consents (
	id INTEGER NOT NULL, 
	rater_id INTEGER NOT NULL, 
	text VARCHAR NOT NULL, 
	given_at DATETIME NOT NULL, 
	PRIMARY KEY (id), 
	FOREIGN KEY(rater_id) REFERENCES raters (id)
);
INSERT INTO "consents" VALUES(1,9,'I take part of my own free will and can stop at any time. My ratings, my comments, the times of my answers and what I say about myself below are stored under a pseudonym. They are used for research and may be published in that form.','2026-11-17 14:29:00.000000');
INSERT INTO "consents" VALUES(2,1,'I take part of my own free will and can stop at any time. My ratings, my comments, the times of my answers and what I say about myself below are stored under a pseudonym. They are used for research and may be published in that form.','2026-11-18 12:29:00.000000');
INSERT INTO "consents" VALUES(3,2,'I take part of my own free will and can stop at any time. My ratings, my comments, the times of my answers and what I say about myself below are stored under a pseudonym. They are used for research and may be published in that form.','2026-11-18 18:29:00.000000');
INSERT INTO "consents" VALUES(4,3,'I take part of my own free will and can stop at any time. My ratings, my comments, the times of my answers and what I say about myself below are stored under a pseudonym. They are used for research and may be published in that form.','2026-11-19 12:29:00.000000');
INSERT INTO "consents" VALUES(5,4,'I take part of my own free will and can stop at any time. My ratings, my comments, the times of my answers and what I say about myself below are stored under a pseudonym. They are used for research and may be published in that form.','2026-11-19 17:29:00.000000');
INSERT INTO "consents" VALUES(6,5,'I take part of my own free will and can stop at any time. My ratings, my comments, the times of my answers and what I say about myself below are stored under a pseudonym. They are used for research and may be published in that form.','2026-11-20 12:29:00.000000');
INSERT INTO "consents" VALUES(7,10,'I take part of my own free will and can stop at any time. My ratings, my comments, the times of my answers and what I say about myself below are stored under a pseudonym. They are used for research and may be published in that form.','2026-11-20 18:29:00.000000');
INSERT INTO "consents" VALUES(8,6,'I take part of my own free will and can stop at any time. My ratings, my comments, the times of my answers and what I say about myself below are stored under a pseudonym. They are used for research and may be published in that form.','2026-11-21 12:29:00.000000');
INSERT INTO "consents" VALUES(9,11,'I take part of my own free will and can stop at any time. My ratings, my comments, the times of my answers and what I say about myself below are stored under a pseudonym. They are used for research and may be published in that form.','2026-11-21 17:29:00.000000');
INSERT INTO "consents" VALUES(10,12,'I take part of my own free will and can stop at any time. My ratings, my comments, the times of my answers and what I say about myself below are stored under a pseudonym. They are used for research and may be published in that form.','2026-11-22 18:29:00.000000');
INSERT INTO "consents" VALUES(11,13,'I take part of my own free will and can stop at any time. My ratings, my comments, the times of my answers and what I say about myself below are stored under a pseudonym. They are used for research and may be published in that form.','2026-11-23 15:29:00.000000');
INSERT INTO "consents" VALUES(12,14,'I take part of my own free will and can stop at any time. My ratings, my comments, the times of my answers and what I say about myself below are stored under a pseudonym. They are used for research and may be published in that form.','2026-11-23 17:29:00.000000');
INSERT INTO "consents" VALUES(13,15,'I take part of my own free will and can stop at any time. My ratings, my comments, the times of my answers and what I say about myself below are stored under a pseudonym. They are used for research and may be published in that form.','2026-11-23 19:29:00.000000');
INSERT INTO "consents" VALUES(14,7,'I take part of my own free will and can stop at any time. My ratings, my comments, the times of my answers and what I say about myself below are stored under a pseudonym. They are used for research and may be published in that form.','2026-11-26 12:21:00.000000');
INSERT INTO "consents" VALUES(15,8,'I take part of my own free will and can stop at any time. My ratings, my comments, the times of my answers and what I say about myself below are stored under a pseudonym. They are used for research and may be published in that form.','2026-11-26 12:28:00.000000');
CREATE TABLE exclusions (
	id INTEGER NOT NULL, 
	rater_id INTEGER NOT NULL, 
	batch_id INTEGER, 
	action VARCHAR NOT NULL, 
	rule VARCHAR NOT NULL, 
	reason VARCHAR NOT NULL, 
	evidence JSON NOT NULL, 
	author VARCHAR NOT NULL, 
	at DATETIME NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT action_known CHECK (action IN ('exclude', 'restore')), 
	FOREIGN KEY(batch_id) REFERENCES batches (id), 
	FOREIGN KEY(rater_id) REFERENCES raters (id)
);
INSERT INTO "exclusions" VALUES(1,2,7,'exclude','anchor','An anchor was rated too low.','{"batch": 1, "anchors": [{"clip": "ad719339ba16fcb161a8bd1e60d47227", "position": 4, "musical_impression": 2, "limit": 3.0}], "duplicates": []}','protocol','2026-11-18 18:41:23.333375');
INSERT INTO "exclusions" VALUES(2,3,11,'exclude','duplicate','The two ratings of the same clip lie too far apart.','{"batch": 1, "anchors": [], "duplicates": [{"clip": "c30ab4c3f22d24fa2b209291955bcbb9", "positions": [1, 9], "musical_impression": [1, 4], "textual_alignment": [1, 1], "tolerance": 1.0}]}','protocol','2026-11-19 12:40:59.333375');
INSERT INTO "exclusions" VALUES(3,4,14,'exclude','anchor','An anchor was rated too low. The two ratings of the same clip lie too far apart.','{"batch": 1, "anchors": [{"clip": "ad719339ba16fcb161a8bd1e60d47227", "position": 5, "musical_impression": 2, "limit": 3.0}], "duplicates": [{"clip": "b94665085ec3b98312efb818dc18dac7", "positions": [2, 9], "musical_impression": [5, 2], "textual_alignment": [2, 2], "tolerance": 1.0}]}','protocol','2026-11-19 17:41:00.000000');
INSERT INTO "exclusions" VALUES(4,5,17,'exclude','by hand','Looks hasty','{}','Anna','2026-11-20 13:52:19.000000');
INSERT INTO "exclusions" VALUES(5,5,17,'restore','by hand','Was fine, „really“','{}','Anna','2026-11-23 12:30:00.000000');
INSERT INTO "exclusions" VALUES(6,4,NULL,'exclude','by hand','=Knows one of the systems','{}','administrator','2026-11-23 12:31:00.000000');
INSERT INTO "exclusions" VALUES(7,14,NULL,'exclude','anchor','An anchor was rated too low.','{"batch": 2, "anchors": [{"clip": "2ba8464b2264f58c6331566665c94653", "position": 2, "textual_alignment": 1, "limit": 3.0}], "duplicates": []}','protocol','2026-11-23 17:41:36.000000');
INSERT INTO "exclusions" VALUES(8,9,2,'exclude','unscreened','The batch ended before any of its checks was heard.','{"batch": 1, "rated": 2}','protocol','2026-11-26 12:21:00.000000');
CREATE TABLE problems (
	id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	comment VARCHAR NOT NULL, 
	reported_at DATETIME NOT NULL, 
	PRIMARY KEY (id), 
	FOREIGN KEY(trial_id) REFERENCES trials (id), 
	UNIQUE (trial_id)
);
INSERT INTO "problems" VALUES(1,108,'=HYPERLINK("x") – nothing to hear','2026-11-20 12:39:55.000000');
CREATE TABLE prompts (
	id INTEGER NOT NULL, 
	study_id INTEGER NOT NULL, 
	text VARCHAR NOT NULL, 
	PRIMARY KEY (id), 
	FOREIGN KEY(study_id) REFERENCES studies (id), 
	UNIQUE (study_id, text)
);
INSERT INTO "prompts" VALUES(1,1,'Solo latin percussion music featuring congas, cowbells, and timbales, performing complex rhythms.');
INSERT INTO "prompts" VALUES(2,1,'A darbuka plays a simple beat. A variety of middle-eastern percussion instruments are played in the background.');
INSERT INTO "prompts" VALUES(3,1,'A female vocalist sings this upbeat Latin pop. The song has an upbeat rhythm with a dance groove. The drumming is lively, the percussion instruments add layers and density to the music, the bass line is simple and steady, the keyboard accompaniment adds a nice melody.');
INSERT INTO "prompts" VALUES(4,1,'This is a psychedelic rock music piece. It could also be playing in the background at a hippie coffee shop.');
INSERT INTO "prompts" VALUES(5,1,'The dance-pop music features a male voice singing a repetitive melody. The music incites the listener to dance.');
INSERT INTO "prompts" VALUES(6,1,'Someone is playing a rock/funk riff on an e-guitar with a lot of low end. This song may be playing during a guitar lesson.');
INSERT INTO "prompts" VALUES(7,1,'Polyphonic music for a small ensemble');
INSERT INTO "prompts" VALUES(8,1,'=SUM(A1), ein fröhliches Stück – “lively” 🎼');
INSERT INTO "prompts" VALUES(9,1,'A piano piece with several voices');
INSERT INTO "prompts" VALUES(10,1,'A calm, slow piano solo in a major key.');
INSERT INTO "prompts" VALUES(11,1,'A tender lullaby on a music box.');
INSERT INTO "prompts" VALUES(12,1,'A cheerful jazz trio.');
INSERT INTO "prompts" VALUES(13,1,'A fiery Hungarian dance for string orchestra.');
INSERT INTO "prompts" VALUES(14,1,'A cheerful American folk song with voice and guitar.');
INSERT INTO "prompts" VALUES(15,1,'A solo trumpet melody.');
INSERT INTO "prompts" VALUES(16,1,'A delicate celesta ballet piece.');
INSERT INTO "prompts" VALUES(17,1,'A relaxed jazz piece with vibraphone, bass and drums.');
INSERT INTO "prompts" VALUES(18,2,'Solo latin percussion music featuring congas, cowbells, and timbales, performing complex rhythms.');
INSERT INTO "prompts" VALUES(19,2,'A darbuka plays a simple beat. A variety of middle-eastern percussion instruments are played in the background.');
INSERT INTO "prompts" VALUES(20,2,'A female vocalist sings this upbeat Latin pop. The song has an upbeat rhythm with a dance groove. The drumming is lively, the percussion instruments add layers and density to the music, the bass line is simple and steady, the keyboard accompaniment adds a nice melody.');
INSERT INTO "prompts" VALUES(21,2,'This is a psychedelic rock music piece. It could also be playing in the background at a hippie coffee shop.');
INSERT INTO "prompts" VALUES(22,2,'The dance-pop music features a male voice singing a repetitive melody. The music incites the listener to dance.');
INSERT INTO "prompts" VALUES(23,2,'Someone is playing a rock/funk riff on an e-guitar with a lot of low end. This song may be playing during a guitar lesson.');
INSERT INTO "prompts" VALUES(24,2,'A fiery Hungarian dance for string orchestra.');
INSERT INTO "prompts" VALUES(25,2,'A cheerful American folk song with voice and guitar.');
CREATE TABLE raters (
	id INTEGER NOT NULL, 
	study_id INTEGER NOT NULL, 
	pseudonym VARCHAR NOT NULL, 
	code_sha256 VARCHAR, 
	invited_at DATETIME NOT NULL, 
	PRIMARY KEY (id), 
	FOREIGN KEY(study_id) REFERENCES studies (id), 
	UNIQUE (code_sha256), 
	UNIQUE (study_id, pseudonym)
);
INSERT INTO "raters" VALUES(1,1,'R01','b905acd3312aaaeea53bb339dbb312221ea21d89d305f631ac8792c195fb156f','2026-11-17 12:33:00.000000');
INSERT INTO "raters" VALUES(2,1,'R02','203e3be3e5a4d01ed01eee45e7d481614f257142ce08d36e6f96fa80e3de2ed0','2026-11-17 12:33:00.000000');
INSERT INTO "raters" VALUES(3,1,'R03','6bf9c836f574d329ab9314bd3d3cf65ff0a9aa9db7928d20e08b8c6bfff2b3a0','2026-11-17 12:33:00.000000');
INSERT INTO "raters" VALUES(4,1,'R04','3ffdadf3db9a79587a428eacb89a8092de5953bc426d0ea0714a528a90a0c7c6','2026-11-17 12:33:00.000000');
INSERT INTO "raters" VALUES(5,1,'R05','68a2dace89273c850f38f869d7f8808fc1446fd33e591681c0bb5d3955f0a707','2026-11-17 12:33:00.000000');
INSERT INTO "raters" VALUES(6,1,'R06','33e80a5b9208c3e418eaad5f9149975e029d946fdda82ef8647ae7f91bcc4c5f','2026-11-17 12:33:00.000000');
INSERT INTO "raters" VALUES(7,1,'R07','a1cc6ff7d82f44793b91ea4929711d75688876a2edaeb03de9e52c9f11c38f34','2026-11-17 12:33:00.000000');
INSERT INTO "raters" VALUES(8,1,'R08','ba5d7cd5eb5ca9bb642785a015389da9a47553e6de3046dfa109c63f8571cca7','2026-11-17 12:33:00.000000');
INSERT INTO "raters" VALUES(9,1,'R09','24234366de2d2fd0d4463fce3e21a3b53a172254743f3a4b88d5edc3e9380881','2026-11-17 12:33:00.000000');
INSERT INTO "raters" VALUES(10,1,'R10','4f66b115273cfbda7d9090425d4fba5f84a5ca0377fa6b279213a4e1cc9c5a1c','2026-11-17 12:33:00.000000');
INSERT INTO "raters" VALUES(11,1,'R11','63a65be25ec1eff667eaff2c05ac4cd77bca3cd02c797a2e3e8aae6bddbbf403','2026-11-17 12:33:00.000000');
INSERT INTO "raters" VALUES(12,1,'R12','c15abc0a7c1bef3044eb7cdcc51ca56c841848d170a21827a00e0866cf522682','2026-11-17 12:33:00.000000');
INSERT INTO "raters" VALUES(13,2,'R01','23cd2dbd7ecc5657243a8c18dd162580c6812d6b3960b91703a3eb54a91a1d61','2026-11-17 12:37:00.000000');
INSERT INTO "raters" VALUES(14,2,'R02','e4a621dbbf7f4c1a6fd0d8215286aa9779e23f83b37d2fe1f81db02a60cd8235','2026-11-17 12:37:00.000000');
INSERT INTO "raters" VALUES(15,2,'R03','a09688a6c9547aa41bde9012eebd934d41fa3a9167131efa48452d07e9bf5260','2026-11-17 12:37:00.000000');
INSERT INTO "raters" VALUES(16,2,'R04','04765734ee18b9e0fc0584b549df112a01d62eac091164a4a08c1183b2e7456f','2026-11-17 12:37:00.000000');
CREATE TABLE ratings (
	id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	musical_impression INTEGER NOT NULL, 
	textual_alignment INTEGER NOT NULL, 
	comment VARCHAR NOT NULL, 
	played JSON NOT NULL, 
	heard_s DOUBLE NOT NULL, 
	given_at DATETIME NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT musical_impression_in_range CHECK (musical_impression BETWEEN 1 AND 5), 
	CONSTRAINT textual_alignment_in_range CHECK (textual_alignment BETWEEN 1 AND 5), 
	FOREIGN KEY(trial_id) REFERENCES trials (id), 
	UNIQUE (trial_id)
);
INSERT INTO "ratings" VALUES(1,1,3,2,'','[[0.0, 4.0]]',4.0,'2026-11-17 14:29:10.000000');
INSERT INTO "ratings" VALUES(2,2,2,3,'','[[0.0, 4.0]]',4.0,'2026-11-17 14:29:20.000000');
INSERT INTO "ratings" VALUES(3,3,3,2,'','[[0.0, 4.0]]',4.0,'2026-11-17 14:29:30.000000');
INSERT INTO "ratings" VALUES(4,4,3,3,'','[[0.0, 4.0]]',4.0,'2026-11-17 14:39:40.000000');
INSERT INTO "ratings" VALUES(5,5,3,3,'','[[0.0, 4.0]]',4.0,'2026-11-17 14:39:50.000000');
INSERT INTO "ratings" VALUES(6,13,4,2,'','[[0.0, 4.0]]',4.0,'2026-11-18 12:29:10.000000');
INSERT INTO "ratings" VALUES(7,14,3,2,'','[[0.0, 4.0]]',4.0,'2026-11-18 12:29:20.000000');
INSERT INTO "ratings" VALUES(8,15,3,3,'','[[0.0, 4.0]]',4.0,'2026-11-18 12:29:30.000000');
INSERT INTO "ratings" VALUES(9,16,4,2,'','[[0.0, 4.0]]',4.0,'2026-11-18 12:39:40.000000');
INSERT INTO "ratings" VALUES(10,17,3,2,'=1+1, „schön“ 🎵
second line','[[0.0, 4.0]]',4.0,'2026-11-18 12:39:50.000000');
INSERT INTO "ratings" VALUES(11,18,4,5,'','[[0.0, 4.0]]',4.0,'2026-11-18 12:40:00.000000');
INSERT INTO "ratings" VALUES(12,19,2,5,'','[[0.0, 4.0]]',4.0,'2026-11-18 12:40:34.000000');
INSERT INTO "ratings" VALUES(13,20,3,3,'','[[0.0, 4.0]]',4.0,'2026-11-18 12:40:44.000000');
INSERT INTO "ratings" VALUES(14,21,4,5,'','[[0.0, 4.0]]',4.0,'2026-11-18 12:40:54.000000');
INSERT INTO "ratings" VALUES(15,22,1,5,'','[[0.0, 4.0]]',4.0,'2026-11-18 12:41:04.000000');
INSERT INTO "ratings" VALUES(16,23,4,5,'','[[0.0, 3.333375]]',3.333375,'2026-11-18 12:41:13.333375');
INSERT INTO "ratings" VALUES(17,24,4,2,'','[[0.0, 4.0]]',4.0,'2026-11-18 12:41:23.333375');
INSERT INTO "ratings" VALUES(18,25,4,5,'','[[0.0, 4.0]]',4.0,'2026-11-18 15:51:33.333375');
INSERT INTO "ratings" VALUES(19,26,2,2,'','[[0.0, 4.0]]',4.0,'2026-11-18 15:51:43.333375');
INSERT INTO "ratings" VALUES(20,27,4,1,'','[[0.0, 4.0]]',4.0,'2026-11-18 15:51:53.333375');
INSERT INTO "ratings" VALUES(21,28,5,4,'','[[0.0, 4.0]]',4.0,'2026-11-18 15:52:03.333375');
INSERT INTO "ratings" VALUES(22,29,5,3,'','[[0.0, 4.0]]',4.0,'2026-11-18 15:52:37.333375');
INSERT INTO "ratings" VALUES(23,30,5,5,'','[[0.0, 4.0]]',4.0,'2026-11-18 15:52:47.333375');
INSERT INTO "ratings" VALUES(24,31,4,5,'','[[0.0, 4.0]]',4.0,'2026-11-18 15:52:57.333375');
INSERT INTO "ratings" VALUES(25,32,5,2,'','[[0.0, 4.0]]',4.0,'2026-11-18 15:53:07.333375');
INSERT INTO "ratings" VALUES(26,33,3,2,'','[[0.0, 4.0]]',4.0,'2026-11-18 15:53:17.333375');
INSERT INTO "ratings" VALUES(27,34,4,1,'','[[0.0, 4.0]]',4.0,'2026-11-18 18:29:10.000000');
INSERT INTO "ratings" VALUES(28,35,3,2,'','[[0.0, 4.0]]',4.0,'2026-11-18 18:29:20.000000');
INSERT INTO "ratings" VALUES(29,36,3,3,'','[[0.0, 4.0]]',4.0,'2026-11-18 18:29:30.000000');
INSERT INTO "ratings" VALUES(30,37,3,2,'','[[0.0, 4.0]]',4.0,'2026-11-18 18:39:40.000000');
INSERT INTO "ratings" VALUES(31,38,1,1,'','[[0.0, 4.0]]',4.0,'2026-11-18 18:39:50.000000');
INSERT INTO "ratings" VALUES(32,39,3,5,'','[[0.0, 4.0]]',4.0,'2026-11-18 18:40:00.000000');
INSERT INTO "ratings" VALUES(33,40,2,4,'','[[0.0, 4.0]]',4.0,'2026-11-18 18:40:10.000000');
INSERT INTO "ratings" VALUES(34,41,3,2,'','[[0.0, 4.0]]',4.0,'2026-11-18 18:40:44.000000');
INSERT INTO "ratings" VALUES(35,42,5,4,'','[[0.0, 4.0]]',4.0,'2026-11-18 18:40:54.000000');
INSERT INTO "ratings" VALUES(36,43,4,4,'','[[0.0, 3.333375]]',3.333375,'2026-11-18 18:41:03.333375');
INSERT INTO "ratings" VALUES(37,44,4,2,'','[[0.0, 4.0]]',4.0,'2026-11-18 18:41:13.333375');
INSERT INTO "ratings" VALUES(38,45,3,2,'','[[0.0, 4.0]]',4.0,'2026-11-18 18:41:23.333375');
INSERT INTO "ratings" VALUES(39,46,1,4,'','[[0.0, 4.0]]',4.0,'2026-11-18 18:51:33.333375');
INSERT INTO "ratings" VALUES(40,47,4,4,'','[[0.0, 4.0]]',4.0,'2026-11-18 18:51:43.333375');
INSERT INTO "ratings" VALUES(41,48,5,3,'','[[0.0, 4.0]]',4.0,'2026-11-18 18:51:53.333375');
INSERT INTO "ratings" VALUES(42,49,5,2,'','[[0.0, 4.0]]',4.0,'2026-11-18 18:52:03.333375');
INSERT INTO "ratings" VALUES(43,50,3,1,'','[[0.0, 4.0]]',4.0,'2026-11-18 18:52:37.333375');
INSERT INTO "ratings" VALUES(44,51,5,5,'','[[0.0, 4.0]]',4.0,'2026-11-18 18:52:47.333375');
INSERT INTO "ratings" VALUES(45,52,4,4,'','[[0.0, 4.0]]',4.0,'2026-11-18 18:52:57.333375');
INSERT INTO "ratings" VALUES(46,53,1,4,'','[[0.0, 4.0]]',4.0,'2026-11-18 18:53:07.333375');
INSERT INTO "ratings" VALUES(47,54,5,1,'','[[0.0, 4.0]]',4.0,'2026-11-18 18:53:17.333375');
INSERT INTO "ratings" VALUES(48,55,5,4,'','[[0.0, 4.0]]',4.0,'2026-11-18 19:03:27.333375');
INSERT INTO "ratings" VALUES(49,56,4,1,'','[[0.0, 4.0]]',4.0,'2026-11-18 19:03:37.333375');
INSERT INTO "ratings" VALUES(50,57,3,4,'','[[0.0, 4.0]]',4.0,'2026-11-18 19:03:47.333375');
INSERT INTO "ratings" VALUES(51,58,5,5,'','[[0.0, 3.333375]]',3.333375,'2026-11-18 19:03:56.666750');
INSERT INTO "ratings" VALUES(52,59,4,5,'','[[0.0, 4.0]]',4.0,'2026-11-18 19:04:06.666750');
INSERT INTO "ratings" VALUES(53,60,4,1,'','[[0.0, 4.0]]',4.0,'2026-11-18 19:04:16.666750');
INSERT INTO "ratings" VALUES(54,61,5,1,'','[[0.0, 4.0]]',4.0,'2026-11-19 12:29:10.000000');
INSERT INTO "ratings" VALUES(55,62,3,3,'','[[0.0, 4.0]]',4.0,'2026-11-19 12:29:20.000000');
INSERT INTO "ratings" VALUES(56,63,2,2,'','[[0.0, 4.0]]',4.0,'2026-11-19 12:29:30.000000');
INSERT INTO "ratings" VALUES(57,64,1,1,'','[[0.0, 4.0]]',4.0,'2026-11-19 12:39:40.000000');
INSERT INTO "ratings" VALUES(58,65,1,2,'','[[0.0, 4.0]]',4.0,'2026-11-19 12:39:50.000000');
INSERT INTO "ratings" VALUES(59,66,5,1,'','[[0.0, 4.0]]',4.0,'2026-11-19 12:40:00.000000');
INSERT INTO "ratings" VALUES(60,67,3,5,'','[[0.0, 3.333375]]',3.333375,'2026-11-19 12:40:09.333375');
INSERT INTO "ratings" VALUES(61,68,4,5,'','[[0.0, 4.0]]',4.0,'2026-11-19 12:40:19.333375');
INSERT INTO "ratings" VALUES(62,69,5,4,'','[[0.0, 4.0]]',4.0,'2026-11-19 12:40:29.333375');
INSERT INTO "ratings" VALUES(63,70,5,2,'','[[0.0, 4.0]]',4.0,'2026-11-19 12:40:39.333375');
INSERT INTO "ratings" VALUES(64,71,5,4,'','[[0.0, 4.0]]',4.0,'2026-11-19 12:40:49.333375');
INSERT INTO "ratings" VALUES(65,72,4,1,'','[[0.0, 4.0]]',4.0,'2026-11-19 12:40:59.333375');
INSERT INTO "ratings" VALUES(66,73,5,5,'','[[0.0, 4.0]]',4.0,'2026-11-19 12:51:09.333375');
INSERT INTO "ratings" VALUES(67,74,3,3,'','[[0.0, 4.0]]',4.0,'2026-11-19 12:51:19.333375');
INSERT INTO "ratings" VALUES(68,75,2,5,'','[[0.0, 4.0]]',4.0,'2026-11-19 12:51:29.333375');
INSERT INTO "ratings" VALUES(69,76,5,2,'','[[0.0, 4.0]]',4.0,'2026-11-19 12:51:39.333375');
INSERT INTO "ratings" VALUES(70,77,5,5,'','[[0.0, 4.0]]',4.0,'2026-11-19 12:51:49.333375');
INSERT INTO "ratings" VALUES(71,78,3,2,'','[[0.0, 4.0]]',4.0,'2026-11-19 12:52:23.333375');
INSERT INTO "ratings" VALUES(72,79,5,4,'','[[0.0, 4.0]]',4.0,'2026-11-19 12:52:33.333375');
INSERT INTO "ratings" VALUES(73,80,5,2,'','[[0.0, 4.0]]',4.0,'2026-11-19 12:52:43.333375');
INSERT INTO "ratings" VALUES(74,81,4,3,'','[[0.0, 4.0]]',4.0,'2026-11-19 12:52:53.333375');
INSERT INTO "ratings" VALUES(75,82,3,1,'','[[0.0, 4.0]]',4.0,'2026-11-19 17:29:10.000000');
INSERT INTO "ratings" VALUES(76,83,4,3,'','[[0.0, 4.0]]',4.0,'2026-11-19 17:29:20.000000');
INSERT INTO "ratings" VALUES(77,84,1,3,'','[[0.0, 4.0]]',4.0,'2026-11-19 17:29:30.000000');
INSERT INTO "ratings" VALUES(78,85,5,2,'','[[0.0, 4.0]]',4.0,'2026-11-19 17:39:40.000000');
INSERT INTO "ratings" VALUES(79,86,5,2,'','[[0.0, 4.0]]',4.0,'2026-11-19 17:39:50.000000');
INSERT INTO "ratings" VALUES(80,87,5,4,'','[[0.0, 4.0]]',4.0,'2026-11-19 17:40:00.000000');
INSERT INTO "ratings" VALUES(81,88,1,3,'','[[0.0, 4.0]]',4.0,'2026-11-19 17:40:10.000000');
INSERT INTO "ratings" VALUES(82,89,2,4,'','[[0.0, 4.0]]',4.0,'2026-11-19 17:40:20.000000');
INSERT INTO "ratings" VALUES(83,90,4,5,'','[[0.0, 4.0]]',4.0,'2026-11-19 17:40:30.000000');
INSERT INTO "ratings" VALUES(84,91,5,5,'','[[0.0, 4.0]]',4.0,'2026-11-19 17:40:40.000000');
INSERT INTO "ratings" VALUES(85,92,1,3,'','[[0.0, 4.0]]',4.0,'2026-11-19 17:40:50.000000');
INSERT INTO "ratings" VALUES(86,93,2,2,'','[[0.0, 4.0]]',4.0,'2026-11-19 17:41:00.000000');
INSERT INTO "ratings" VALUES(87,94,5,4,'','[[0.0, 4.0]]',4.0,'2026-11-19 17:51:10.000000');
INSERT INTO "ratings" VALUES(88,95,3,2,'','[[0.0, 4.0]]',4.0,'2026-11-19 17:51:20.000000');
INSERT INTO "ratings" VALUES(89,96,3,5,'','[[0.0, 4.0]]',4.0,'2026-11-19 17:51:30.000000');
INSERT INTO "ratings" VALUES(90,97,3,2,'','[[0.0, 4.0]]',4.0,'2026-11-19 17:51:40.000000');
INSERT INTO "ratings" VALUES(91,98,2,5,'','[[0.0, 4.0]]',4.0,'2026-11-19 17:52:14.000000');
INSERT INTO "ratings" VALUES(92,99,4,4,'','[[0.0, 4.0]]',4.0,'2026-11-19 17:52:24.000000');
INSERT INTO "ratings" VALUES(93,100,4,5,'','[[0.0, 4.0]]',4.0,'2026-11-19 17:52:34.000000');
INSERT INTO "ratings" VALUES(94,101,5,2,'','[[0.0, 4.0]]',4.0,'2026-11-19 17:52:44.000000');
INSERT INTO "ratings" VALUES(95,102,3,2,'','[[0.0, 4.0]]',4.0,'2026-11-19 17:52:54.000000');
INSERT INTO "ratings" VALUES(96,103,3,1,'','[[0.0, 4.0]]',4.0,'2026-11-20 12:29:10.000000');
INSERT INTO "ratings" VALUES(97,104,3,3,'','[[0.0, 4.0]]',4.0,'2026-11-20 12:29:20.000000');
INSERT INTO "ratings" VALUES(98,105,3,3,'','[[0.0, 4.0]]',4.0,'2026-11-20 12:29:30.000000');
INSERT INTO "ratings" VALUES(99,106,1,2,'','[[0.0, 4.0]]',4.0,'2026-11-20 12:39:40.000000');
INSERT INTO "ratings" VALUES(100,107,3,2,'','[[0.0, 4.0]]',4.0,'2026-11-20 12:39:50.000000');
INSERT INTO "ratings" VALUES(101,109,5,4,'','[[0.0, 4.0]]',4.0,'2026-11-20 12:40:29.000000');
INSERT INTO "ratings" VALUES(102,110,4,4,'','[[0.0, 4.0]]',4.0,'2026-11-20 12:40:39.000000');
INSERT INTO "ratings" VALUES(103,111,5,5,'','[[0.0, 4.0]]',4.0,'2026-11-20 12:40:49.000000');
INSERT INTO "ratings" VALUES(104,112,3,2,'','[[0.0, 4.0]]',4.0,'2026-11-20 12:40:59.000000');
INSERT INTO "ratings" VALUES(105,113,3,1,'','[[0.0, 4.0]]',4.0,'2026-11-20 12:41:09.000000');
INSERT INTO "ratings" VALUES(106,114,1,5,'','[[0.0, 4.0]]',4.0,'2026-11-20 12:41:19.000000');
INSERT INTO "ratings" VALUES(107,115,3,1,'','[[0.0, 4.0]]',4.0,'2026-11-20 18:29:10.000000');
INSERT INTO "ratings" VALUES(108,116,3,3,'','[[0.0, 4.0]]',4.0,'2026-11-20 18:29:20.000000');
INSERT INTO "ratings" VALUES(109,117,2,3,'','[[0.0, 4.0]]',4.0,'2026-11-20 18:29:30.000000');
INSERT INTO "ratings" VALUES(110,118,3,2,'','[[0.0, 4.0]]',4.0,'2026-11-20 18:39:40.000000');
INSERT INTO "ratings" VALUES(111,119,2,5,'','[[0.0, 4.0]]',4.0,'2026-11-20 18:39:50.000000');
INSERT INTO "ratings" VALUES(112,120,4,2,'','[[0.0, 4.0]]',4.0,'2026-11-20 18:40:00.000000');
INSERT INTO "ratings" VALUES(113,121,4,3,'','[[0.0, 4.0]]',4.0,'2026-11-20 18:40:34.000000');
INSERT INTO "ratings" VALUES(114,122,3,2,'','[[0.0, 4.0]]',4.0,'2026-11-20 18:40:44.000000');
INSERT INTO "ratings" VALUES(115,123,5,4,'','[[0.0, 4.0]]',4.0,'2026-11-20 18:40:54.000000');
INSERT INTO "ratings" VALUES(116,124,1,2,'','[[0.0, 4.0]]',4.0,'2026-11-20 18:41:04.000000');
INSERT INTO "ratings" VALUES(117,125,4,4,'','[[0.0, 4.0]]',4.0,'2026-11-20 18:41:14.000000');
INSERT INTO "ratings" VALUES(118,126,4,4,'','[[0.0, 4.0]]',4.0,'2026-11-20 18:41:24.000000');
INSERT INTO "ratings" VALUES(119,127,4,4,'','[[0.0, 4.0]]',4.0,'2026-11-21 12:29:04.500000');
INSERT INTO "ratings" VALUES(120,128,4,4,'','[[0.0, 4.0]]',4.0,'2026-11-21 12:29:09.000000');
INSERT INTO "ratings" VALUES(121,129,4,4,'','[[0.0, 4.0]]',4.0,'2026-11-21 12:29:13.500000');
INSERT INTO "ratings" VALUES(122,130,4,4,'','[[0.0, 1.5]]',1.5,'2026-11-21 12:39:17.800000');
INSERT INTO "ratings" VALUES(123,131,4,4,'','[[0.0, 1.5]]',1.5,'2026-11-21 12:39:21.433375');
INSERT INTO "ratings" VALUES(124,132,4,4,'','[[0.0, 1.5]]',1.5,'2026-11-21 12:39:25.733375');
INSERT INTO "ratings" VALUES(125,133,4,4,'','[[0.0, 1.5]]',1.5,'2026-11-21 12:39:30.033375');
INSERT INTO "ratings" VALUES(126,134,4,4,'','[[0.0, 1.5]]',1.5,'2026-11-21 12:39:34.333375');
INSERT INTO "ratings" VALUES(127,135,4,4,'','[[0.0, 1.5]]',1.5,'2026-11-21 12:39:38.633375');
INSERT INTO "ratings" VALUES(128,136,4,4,'','[[0.0, 1.5]]',1.5,'2026-11-21 12:39:42.933375');
INSERT INTO "ratings" VALUES(129,137,4,4,'','[[0.0, 1.5]]',1.5,'2026-11-21 12:39:47.233375');
INSERT INTO "ratings" VALUES(130,138,4,4,'','[[0.0, 1.5]]',1.5,'2026-11-21 12:39:51.533375');
INSERT INTO "ratings" VALUES(131,139,4,4,'','[[0.0, 4.0]]',4.0,'2026-11-21 12:49:55.833375');
INSERT INTO "ratings" VALUES(132,140,4,4,'','[[0.0, 4.0]]',4.0,'2026-11-21 12:50:00.133375');
INSERT INTO "ratings" VALUES(133,141,4,4,'','[[0.0, 4.0]]',4.0,'2026-11-21 12:50:04.433375');
INSERT INTO "ratings" VALUES(134,142,4,4,'','[[0.0, 4.0]]',4.0,'2026-11-21 12:50:08.733375');
INSERT INTO "ratings" VALUES(135,143,4,4,'','[[0.0, 4.0]]',4.0,'2026-11-21 12:50:13.033375');
INSERT INTO "ratings" VALUES(136,144,4,4,'','[[0.0, 4.0]]',4.0,'2026-11-21 12:50:17.333375');
INSERT INTO "ratings" VALUES(137,145,4,4,'','[[0.0, 4.0]]',4.0,'2026-11-21 12:50:21.633375');
INSERT INTO "ratings" VALUES(138,146,4,4,'','[[0.0, 4.0]]',4.0,'2026-11-21 12:50:25.933375');
INSERT INTO "ratings" VALUES(139,147,4,4,'','[[0.0, 4.0]]',4.0,'2026-11-21 12:50:30.233375');
INSERT INTO "ratings" VALUES(140,148,4,1,'','[[0.0, 4.0]]',4.0,'2026-11-21 17:29:10.000000');
INSERT INTO "ratings" VALUES(141,149,4,3,'','[[0.0, 4.0]]',4.0,'2026-11-21 17:29:20.000000');
INSERT INTO "ratings" VALUES(142,150,1,3,'','[[0.0, 4.0]]',4.0,'2026-11-21 17:29:30.000000');
INSERT INTO "ratings" VALUES(143,151,2,3,'','[[0.0, 4.0]]',4.0,'2026-11-21 17:39:40.000000');
INSERT INTO "ratings" VALUES(144,152,3,4,'','[[0.0, 4.0]]',4.0,'2026-11-21 17:39:50.000000');
INSERT INTO "ratings" VALUES(145,153,4,4,'','[[0.0, 4.0]]',4.0,'2026-11-21 17:40:00.000000');
INSERT INTO "ratings" VALUES(146,154,5,5,'','[[0.0, 3.333375]]',3.333375,'2026-11-21 17:40:09.333375');
INSERT INTO "ratings" VALUES(147,155,4,2,'','[[0.0, 4.0]]',4.0,'2026-11-21 17:40:43.333375');
INSERT INTO "ratings" VALUES(148,156,3,4,'','[[0.0, 4.0]]',4.0,'2026-11-21 17:40:53.333375');
INSERT INTO "ratings" VALUES(149,157,3,2,'','[[0.0, 4.0]]',4.0,'2026-11-21 17:41:03.333375');
INSERT INTO "ratings" VALUES(150,158,4,2,'','[[0.0, 4.0]]',4.0,'2026-11-21 17:41:13.333375');
INSERT INTO "ratings" VALUES(151,159,4,5,'','[[0.0, 4.0]]',4.0,'2026-11-21 17:41:23.333375');
INSERT INTO "ratings" VALUES(152,160,4,4,'','[[0.0, 4.0]]',4.0,'2026-11-21 17:51:33.333375');
INSERT INTO "ratings" VALUES(153,161,5,4,'','[[0.0, 4.0]]',4.0,'2026-11-21 17:51:43.333375');
INSERT INTO "ratings" VALUES(154,162,4,3,'','[[0.0, 4.0]]',4.0,'2026-11-21 17:51:53.333375');
INSERT INTO "ratings" VALUES(155,163,5,2,'','[[0.0, 4.0]]',4.0,'2026-11-21 17:52:03.333375');
INSERT INTO "ratings" VALUES(156,164,1,4,'','[[0.0, 4.0]]',4.0,'2026-11-21 17:52:37.333375');
INSERT INTO "ratings" VALUES(157,165,5,4,'','[[0.0, 4.0]]',4.0,'2026-11-21 17:52:47.333375');
INSERT INTO "ratings" VALUES(158,166,4,2,'','[[0.0, 4.0]]',4.0,'2026-11-21 17:52:57.333375');
INSERT INTO "ratings" VALUES(159,167,5,2,'','[[0.0, 4.0]]',4.0,'2026-11-21 17:53:07.333375');
INSERT INTO "ratings" VALUES(160,168,3,3,'','[[0.0, 4.0]]',4.0,'2026-11-21 17:53:17.333375');
INSERT INTO "ratings" VALUES(161,169,3,3,'','[[0.0, 4.0]]',4.0,'2026-11-22 12:29:10.000000');
INSERT INTO "ratings" VALUES(162,170,5,5,'','[[0.0, 4.0]]',4.0,'2026-11-22 12:29:20.000000');
INSERT INTO "ratings" VALUES(163,171,4,5,'','[[0.0, 3.333375]]',3.333375,'2026-11-22 12:29:29.333375');
INSERT INTO "ratings" VALUES(164,172,4,5,'','[[0.0, 4.0]]',4.0,'2026-11-22 12:29:39.333375');
INSERT INTO "ratings" VALUES(165,173,3,2,'','[[0.0, 4.0]]',4.0,'2026-11-22 12:29:49.333375');
INSERT INTO "ratings" VALUES(166,174,3,3,'','[[0.0, 4.0]]',4.0,'2026-11-22 12:29:59.333375');
INSERT INTO "ratings" VALUES(167,175,4,5,'','[[0.0, 4.0]]',4.0,'2026-11-22 15:29:10.000000');
INSERT INTO "ratings" VALUES(168,176,4,3,'','[[0.0, 4.0]]',4.0,'2026-11-22 15:29:20.000000');
INSERT INTO "ratings" VALUES(169,177,5,4,'','[[0.0, 4.0]]',4.0,'2026-11-22 15:29:30.000000');
INSERT INTO "ratings" VALUES(170,178,4,1,'','[[0.0, 4.0]]',4.0,'2026-11-22 18:29:10.000000');
INSERT INTO "ratings" VALUES(171,179,3,3,'','[[0.0, 4.0]]',4.0,'2026-11-22 18:29:20.000000');
INSERT INTO "ratings" VALUES(172,180,2,2,'','[[0.0, 4.0]]',4.0,'2026-11-22 18:29:30.000000');
INSERT INTO "ratings" VALUES(173,181,3,2,'','[[0.0, 4.0]]',4.0,'2026-11-22 18:39:40.000000');
INSERT INTO "ratings" VALUES(174,182,4,4,'','[[0.0, 4.0]]',4.0,'2026-11-22 18:39:50.000000');
INSERT INTO "ratings" VALUES(175,183,4,4,'','[[0.0, 4.0]]',4.0,'2026-11-22 18:40:00.000000');
INSERT INTO "ratings" VALUES(176,184,2,4,'','[[0.0, 4.0]]',4.0,'2026-11-22 18:40:10.000000');
INSERT INTO "ratings" VALUES(177,185,5,4,'','[[0.0, 4.0]]',4.0,'2026-11-22 18:40:20.000000');
INSERT INTO "ratings" VALUES(178,186,1,2,'','[[0.0, 4.0]]',4.0,'2026-11-22 18:40:54.000000');
INSERT INTO "ratings" VALUES(179,187,4,2,'','[[0.0, 4.0]]',4.0,'2026-11-22 18:41:04.000000');
INSERT INTO "ratings" VALUES(180,188,4,2,'','[[0.0, 4.0]]',4.0,'2026-11-22 18:41:14.000000');
INSERT INTO "ratings" VALUES(181,189,2,4,'','[[0.0, 4.0]]',4.0,'2026-11-22 18:41:24.000000');
INSERT INTO "ratings" VALUES(182,190,4,4,'','[[0.0, 3.0]]',3.0,'2026-11-23 15:29:09.000000');
INSERT INTO "ratings" VALUES(183,191,3,4,'','[[0.0, 3.0]]',3.0,'2026-11-23 15:29:18.000000');
INSERT INTO "ratings" VALUES(184,192,3,4,'','[[0.0, 3.0]]',3.0,'2026-11-23 15:29:27.000000');
INSERT INTO "ratings" VALUES(185,193,4,4,'','[[0.0, 3.0]]',3.0,'2026-11-23 15:29:36.000000');
INSERT INTO "ratings" VALUES(186,194,4,3,'','[[0.0, 3.0]]',3.0,'2026-11-23 15:29:45.000000');
INSERT INTO "ratings" VALUES(187,195,2,5,'','[[0.0, 3.0]]',3.0,'2026-11-23 15:30:18.000000');
INSERT INTO "ratings" VALUES(188,196,4,2,'','[[0.0, 3.0]]',3.0,'2026-11-23 15:40:27.000000');
INSERT INTO "ratings" VALUES(189,197,3,3,'','[[0.0, 3.0]]',3.0,'2026-11-23 15:40:36.000000');
INSERT INTO "ratings" VALUES(190,198,4,2,'','[[0.0, 3.0]]',3.0,'2026-11-23 15:40:45.000000');
INSERT INTO "ratings" VALUES(191,199,3,5,'','[[0.0, 3.0]]',3.0,'2026-11-23 15:41:18.000000');
INSERT INTO "ratings" VALUES(192,200,4,5,'','[[0.0, 3.0]]',3.0,'2026-11-23 15:41:27.000000');
INSERT INTO "ratings" VALUES(193,201,3,3,'','[[0.0, 3.0]]',3.0,'2026-11-23 15:41:36.000000');
INSERT INTO "ratings" VALUES(194,202,5,4,'','[[0.0, 3.0]]',3.0,'2026-11-23 17:29:09.000000');
INSERT INTO "ratings" VALUES(195,203,3,2,'','[[0.0, 3.0]]',3.0,'2026-11-23 17:29:18.000000');
INSERT INTO "ratings" VALUES(196,204,1,5,'','[[0.0, 3.0]]',3.0,'2026-11-23 17:29:27.000000');
INSERT INTO "ratings" VALUES(197,205,4,3,'','[[0.0, 3.0]]',3.0,'2026-11-23 17:29:36.000000');
INSERT INTO "ratings" VALUES(198,206,2,4,'','[[0.0, 3.0]]',3.0,'2026-11-23 17:30:09.000000');
INSERT INTO "ratings" VALUES(199,207,1,5,'','[[0.0, 3.0]]',3.0,'2026-11-23 17:30:18.000000');
INSERT INTO "ratings" VALUES(200,208,2,4,'','[[0.0, 3.0]]',3.0,'2026-11-23 17:40:27.000000');
INSERT INTO "ratings" VALUES(201,209,4,1,'','[[0.0, 3.0]]',3.0,'2026-11-23 17:40:36.000000');
INSERT INTO "ratings" VALUES(202,210,2,4,'','[[0.0, 3.0]]',3.0,'2026-11-23 17:40:45.000000');
INSERT INTO "ratings" VALUES(203,211,4,4,'','[[0.0, 3.0]]',3.0,'2026-11-23 17:40:54.000000');
INSERT INTO "ratings" VALUES(204,212,3,2,'','[[0.0, 3.0]]',3.0,'2026-11-23 17:41:27.000000');
INSERT INTO "ratings" VALUES(205,213,2,4,'','[[0.0, 3.0]]',3.0,'2026-11-23 17:41:36.000000');
INSERT INTO "ratings" VALUES(206,214,5,5,'','[[0.0, 3.0]]',3.0,'2026-11-23 19:29:09.000000');
INSERT INTO "ratings" VALUES(207,215,3,5,'','[[0.0, 3.0]]',3.0,'2026-11-23 19:29:18.000000');
INSERT INTO "ratings" VALUES(208,216,4,3,'','[[0.0, 3.0]]',3.0,'2026-11-23 19:29:27.000000');
INSERT INTO "ratings" VALUES(209,220,4,2,'','[[0.0, 4.0]]',4.0,'2026-11-26 12:21:10.000000');
INSERT INTO "ratings" VALUES(210,221,3,2,'','[[0.0, 4.0]]',4.0,'2026-11-26 12:21:20.000000');
INSERT INTO "ratings" VALUES(211,222,2,2,'','[[0.0, 4.0]]',4.0,'2026-11-26 12:21:30.000000');
INSERT INTO "ratings" VALUES(212,223,5,4,'','[[0.0, 4.0]]',4.0,'2026-11-26 12:25:10.000000');
INSERT INTO "ratings" VALUES(213,224,4,1,'','[[0.0, 4.0]]',4.0,'2026-11-26 12:25:20.000000');
INSERT INTO "ratings" VALUES(214,225,1,4,'','[[0.0, 4.0]]',4.0,'2026-11-26 12:25:30.000000');
INSERT INTO "ratings" VALUES(215,226,4,5,'','[[0.0, 4.0]]',4.0,'2026-11-26 12:25:40.000000');
CREATE TABLE studies (
	id INTEGER NOT NULL, 
	name VARCHAR NOT NULL, 
	demo BOOLEAN NOT NULL, 
	seed INTEGER NOT NULL, 
	protocol JSON NOT NULL, 
	created_at DATETIME NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (name)
);
INSERT INTO "studies" VALUES(1,'autumn',0,11,'{"raters_per_clip": 5, "batch_size": 6, "anchors": 2, "duplicates": 1, "presentation": "mixed", "anchor_fail_below": 3.0, "anchor_scale": "musical_impression", "duplicate_tolerance": 1.0, "duplicate_distance": 3, "scope": "batch", "training": 3, "lease_minutes": 45.0, "close_after_days": 7.0, "sample_rate_hz": 16000, "loudness_lufs": -23.0, "peak_dbtp": -1.0, "excerpt_start_s": 2.0, "excerpt_length_s": 4.0, "fade_ms": 10.0}','2026-11-17 12:29:00.000000');
INSERT INTO "studies" VALUES(2,'spring',0,12,'{"raters_per_clip": 2, "batch_size": 4, "anchors": 1, "duplicates": 1, "presentation": "by-prompt", "anchor_fail_below": 3.0, "anchor_scale": "textual_alignment", "duplicate_tolerance": 1.0, "duplicate_distance": 2, "scope": "rater", "training": 0, "lease_minutes": 90.0, "close_after_days": 30.0, "sample_rate_hz": 16000, "loudness_lufs": -23.0, "peak_dbtp": -1.0, "excerpt_start_s": 0.0, "excerpt_length_s": 3.0, "fade_ms": 10.0}','2026-11-17 12:35:00.000000');
CREATE TABLE systems (
	id INTEGER NOT NULL, 
	study_id INTEGER NOT NULL, 
	name VARCHAR NOT NULL, 
	PRIMARY KEY (id), 
	FOREIGN KEY(study_id) REFERENCES studies (id), 
	UNIQUE (study_id, name)
);
INSERT INTO "systems" VALUES(1,1,'specgen');
INSERT INTO "systems" VALUES(2,1,'wavegen');
INSERT INTO "systems" VALUES(3,1,'+survey');
INSERT INTO "systems" VALUES(4,1,'composed');
INSERT INTO "systems" VALUES(5,1,'human');
INSERT INTO "systems" VALUES(6,2,'specgen');
INSERT INTO "systems" VALUES(7,2,'wavegen');
INSERT INTO "systems" VALUES(8,2,'human');
CREATE TABLE trials (
	id INTEGER NOT NULL, 
	batch_id INTEGER NOT NULL, 
	rater_id INTEGER NOT NULL, 
	clip_id INTEGER NOT NULL, 
	position INTEGER NOT NULL, 
	role VARCHAR NOT NULL, 
	token VARCHAR NOT NULL, 
	state VARCHAR NOT NULL, 
	shown_at DATETIME, 
	served_at DATETIME, 
	PRIMARY KEY (id), 
	CONSTRAINT role_known CHECK (role IN ('stimulus', 'anchor', 'duplicate', 'training')), 
	CONSTRAINT state_known CHECK (state IN ('open', 'rated', 'released')), 
	FOREIGN KEY(batch_id) REFERENCES batches (id), 
	FOREIGN KEY(clip_id) REFERENCES clips (id), 
	FOREIGN KEY(rater_id) REFERENCES raters (id), 
	UNIQUE (batch_id, position), 
	UNIQUE (token)
);
INSERT INTO "trials" VALUES(1,1,9,16,1,'training','pSxkzssK60wl50Ft_LojwLUGVvfT6va2','rated','2026-11-17 14:29:00.000000','2026-11-17 14:29:00.000000');
INSERT INTO "trials" VALUES(2,1,9,17,2,'training','tVdFhkfsJfbpvWXMrmosT2kM9ANOB2gm','rated','2026-11-17 14:29:10.000000','2026-11-17 14:29:00.000000');
INSERT INTO "trials" VALUES(3,1,9,18,3,'training','1zwO6L6jrJ10zd8eKaV2pbHCk1EL0Xml','rated','2026-11-17 14:29:20.000000','2026-11-17 14:29:10.000000');
INSERT INTO "trials" VALUES(4,2,9,6,1,'stimulus','pFETVbJuoHQjYdwMoAueaW1EMsYxFiUu','rated','2026-11-17 14:39:30.000000','2026-11-17 14:39:30.000000');
INSERT INTO "trials" VALUES(5,2,9,7,2,'stimulus','e0-6zshmKTNZ803hwTgCCflcWhq2m8Ld','rated','2026-11-17 14:39:40.000000','2026-11-17 14:39:30.000000');
INSERT INTO "trials" VALUES(6,2,9,1,3,'stimulus','F6yOWonFlbkXoeuNoW4UiN7HfZAjC63s','released','2026-11-17 14:39:50.000000','2026-11-17 14:39:40.000000');
INSERT INTO "trials" VALUES(7,2,9,4,4,'stimulus','S6keXTb9D6ND4Kl-DiLLeXxcnxHyI5Lz','released',NULL,NULL);
INSERT INTO "trials" VALUES(8,2,9,23,5,'anchor','jdQUO48I59gz_60hkys387EL0dkz3ES9','released',NULL,NULL);
INSERT INTO "trials" VALUES(9,2,9,21,6,'anchor','LXa77K3nzjj-ICMhuKrsSKaL39_BCa5K','released',NULL,NULL);
INSERT INTO "trials" VALUES(10,2,9,12,7,'stimulus','yhr1kbb8eyNlUS8HTJTQMZbK_kUyJgqe','released',NULL,NULL);
INSERT INTO "trials" VALUES(11,2,9,6,8,'duplicate','62lR-Gb31NUWRRkj6rAJns9xqyncUkSX','released',NULL,NULL);
INSERT INTO "trials" VALUES(12,2,9,13,9,'stimulus','w_LFbl51LY_pp9utzFTMnrvc5QlJs9tG','released',NULL,NULL);
INSERT INTO "trials" VALUES(13,3,1,16,1,'training','RcjcMDXQ50a2G06sl22NZbdSaYYlrq2Z','rated','2026-11-18 12:29:00.000000','2026-11-18 12:29:00.000000');
INSERT INTO "trials" VALUES(14,3,1,17,2,'training','Y8EZLY1zJ-iaeplVD5RvKOG2VhMiZj6G','rated','2026-11-18 12:29:10.000000','2026-11-18 12:29:00.000000');
INSERT INTO "trials" VALUES(15,3,1,18,3,'training','rdgQvs3hqNcycDbae9VXAaitJ0NhBbTN','rated','2026-11-18 12:29:20.000000','2026-11-18 12:29:10.000000');
INSERT INTO "trials" VALUES(16,4,1,10,1,'stimulus','NHuJpb5-CxCbI-etfocoosKtAM-yt6oA','rated','2026-11-18 12:39:30.000000','2026-11-18 12:39:30.000000');
INSERT INTO "trials" VALUES(17,4,1,2,2,'stimulus','JvpJoDwW2t-nZaL3HSvdScKDfV1YYxBO','rated','2026-11-18 12:39:40.000000','2026-11-18 12:39:30.000000');
INSERT INTO "trials" VALUES(18,4,1,13,3,'stimulus','AzNadcGzM0Zo0aJaWI-j92DqjY3fJEuX','rated','2026-11-18 12:39:50.000000','2026-11-18 12:39:40.000000');
INSERT INTO "trials" VALUES(19,4,1,14,4,'stimulus','ztKqswS7X6H44tysYYgN3UwaG9rvVj4R','rated','2026-11-18 12:40:00.000000','2026-11-18 12:39:50.000000');
INSERT INTO "trials" VALUES(20,4,1,9,5,'stimulus','kyR23YH_mCFB_Jh-mR2m_MFqpzu6pQVk','rated','2026-11-18 12:40:34.000000','2026-11-18 12:40:00.000000');
INSERT INTO "trials" VALUES(21,4,1,22,6,'anchor','Ay7MSM5LD-qeRMwXs7Td0YnLsLlHvdVd','rated','2026-11-18 12:40:44.000000','2026-11-18 12:40:34.000000');
INSERT INTO "trials" VALUES(22,4,1,5,7,'stimulus','ZRKSiz6GMBCj7JVOc-qQdGXmVyOgBFo1','rated','2026-11-18 12:40:54.000000','2026-11-18 12:40:44.000000');
INSERT INTO "trials" VALUES(23,4,1,21,8,'anchor','QzfxZtzMPkX_pHroQY1Cr9-Demz2Yl_r','rated','2026-11-18 12:41:04.000000','2026-11-18 12:40:54.000000');
INSERT INTO "trials" VALUES(24,4,1,10,9,'duplicate','td4HHLR3ryXNik90YQnmXnQv4OHylLR_','rated','2026-11-18 12:41:13.333375','2026-11-18 12:41:04.000000');
INSERT INTO "trials" VALUES(25,5,1,8,1,'stimulus','Nhvjyv1pLNvm1VvVZiisrSjASOfbaR4S','rated','2026-11-18 15:51:23.333375','2026-11-18 15:51:23.333375');
INSERT INTO "trials" VALUES(26,5,1,3,2,'stimulus','4dOd5PVJ-5kDJytxQ0XI3o4ma1RQAj04','rated','2026-11-18 15:51:33.333375','2026-11-18 15:51:23.333375');
INSERT INTO "trials" VALUES(27,5,1,15,3,'stimulus','GqxlvxyV-Bxbo6hteuLi7_l6aPY-yw6j','rated','2026-11-18 15:51:43.333375','2026-11-18 15:51:33.333375');
INSERT INTO "trials" VALUES(28,5,1,19,4,'anchor','miCDWT-aoDzZ7fUcFcSoBwyI8ytvycda','rated','2026-11-18 15:51:53.333375','2026-11-18 15:51:43.333375');
INSERT INTO "trials" VALUES(29,5,1,1,5,'stimulus','cSzF9lYBQ218KWWdQGLBy5Z3OSS9bUru','rated','2026-11-18 15:52:03.333375','2026-11-18 15:51:53.333375');
INSERT INTO "trials" VALUES(30,5,1,20,6,'anchor','c5MBwi1KmCYZEmRjhqHgruR5S7asGzwk','rated','2026-11-18 15:52:37.333375','2026-11-18 15:52:03.333375');
INSERT INTO "trials" VALUES(31,5,1,8,7,'duplicate','40qHqp_E6RMCa6wLQqwKi161T5lsj_8o','rated','2026-11-18 15:52:47.333375','2026-11-18 15:52:37.333375');
INSERT INTO "trials" VALUES(32,5,1,12,8,'stimulus','O8sya0eUevqoFF7CNdk_LhXT76Dlj41n','rated','2026-11-18 15:52:57.333375','2026-11-18 15:52:47.333375');
INSERT INTO "trials" VALUES(33,5,1,4,9,'stimulus','TXQSuoVV6Jvq5TKYNJ1otBnjErFG05oK','rated','2026-11-18 15:53:07.333375','2026-11-18 15:52:57.333375');
INSERT INTO "trials" VALUES(34,6,2,16,1,'training','6XIhraxYLQFhnSVtFx08Pie88ehpMuv2','rated','2026-11-18 18:29:00.000000','2026-11-18 18:29:00.000000');
INSERT INTO "trials" VALUES(35,6,2,17,2,'training','AvY_4t6GPPcBovAAD6iQyi_tw8UPhGOR','rated','2026-11-18 18:29:10.000000','2026-11-18 18:29:00.000000');
INSERT INTO "trials" VALUES(36,6,2,18,3,'training','6fYbw8l9z4VVvc851xxgfLmABP9L857S','rated','2026-11-18 18:29:20.000000','2026-11-18 18:29:10.000000');
INSERT INTO "trials" VALUES(37,7,2,11,1,'stimulus','61DpgCl40U0u5SB3fSF5H2IKgXig1W-w','rated','2026-11-18 18:39:30.000000','2026-11-18 18:39:30.000000');
INSERT INTO "trials" VALUES(38,7,2,3,2,'stimulus','3C1OUiH5jFX3fFV9F73YYhR8NbC_xXQa','rated','2026-11-18 18:39:40.000000','2026-11-18 18:39:30.000000');
INSERT INTO "trials" VALUES(39,7,2,14,3,'stimulus','kjMdigF3WZef3wp91si-lTnESKI3ADXu','rated','2026-11-18 18:39:50.000000','2026-11-18 18:39:40.000000');
INSERT INTO "trials" VALUES(40,7,2,20,4,'anchor','Dndvur2oKhr_7WolvV4C-RzwHcHMCay8','rated','2026-11-18 18:40:00.000000','2026-11-18 18:39:50.000000');
INSERT INTO "trials" VALUES(41,7,2,2,5,'stimulus','TzBoPUmGMmOoAzSjho2XB7UoMNRTUH17','rated','2026-11-18 18:40:10.000000','2026-11-18 18:40:00.000000');
INSERT INTO "trials" VALUES(42,7,2,8,6,'stimulus','QziS7msqzzgxOTS_7UEC4e0pdEz8ZJ85','rated','2026-11-18 18:40:44.000000','2026-11-18 18:40:10.000000');
INSERT INTO "trials" VALUES(43,7,2,21,7,'anchor','Fs44pBd6hVpQl4E_x8ZuaMFb3q_SL1k9','rated','2026-11-18 18:40:54.000000','2026-11-18 18:40:44.000000');
INSERT INTO "trials" VALUES(44,7,2,10,8,'stimulus','frFqjiDRtBPjkwzQDpR0Ce3I1QCcHBfY','rated','2026-11-18 18:41:03.333375','2026-11-18 18:40:54.000000');
INSERT INTO "trials" VALUES(45,7,2,11,9,'duplicate','uQi_wOl1HQoHJhxUiz1V_Xtc1N_bzfNz','rated','2026-11-18 18:41:13.333375','2026-11-18 18:41:03.333375');
INSERT INTO "trials" VALUES(46,8,2,5,1,'stimulus','vDTr1I17P5Ve7FQ07mLsfIG5SikToK1u','rated','2026-11-18 18:51:23.333375','2026-11-18 18:51:23.333375');
INSERT INTO "trials" VALUES(47,8,2,23,2,'anchor','bL7KKRIeMtlvunJrETc-mm3y3BCv2aw4','rated','2026-11-18 18:51:33.333375','2026-11-18 18:51:23.333375');
INSERT INTO "trials" VALUES(48,8,2,1,3,'stimulus','4eO5_MJ_5QjSReFAJrGZ5SYTj0fEiH1A','rated','2026-11-18 18:51:43.333375','2026-11-18 18:51:33.333375');
INSERT INTO "trials" VALUES(49,8,2,15,4,'stimulus','Qhvg7F4oPe24Mg01Ca0phF9OX94WnR_d','rated','2026-11-18 18:51:53.333375','2026-11-18 18:51:43.333375');
INSERT INTO "trials" VALUES(50,8,2,4,5,'stimulus','ECxKZeRh7gVEJ8a1mOYIGfX2-6Ahdiwn','rated','2026-11-18 18:52:03.333375','2026-11-18 18:51:53.333375');
INSERT INTO "trials" VALUES(51,8,2,19,6,'anchor','ftv37tUvha5PY8CWsp1oGYGFYvcvDB6l','rated','2026-11-18 18:52:37.333375','2026-11-18 18:52:03.333375');
INSERT INTO "trials" VALUES(52,8,2,9,7,'stimulus','-fg2hwjR-I56hoeIMojsxG86uevCBCk6','rated','2026-11-18 18:52:47.333375','2026-11-18 18:52:37.333375');
INSERT INTO "trials" VALUES(53,8,2,5,8,'duplicate','Xovy_oBqTnOPV7_ltBSo7Z1T_RqzjV0P','rated','2026-11-18 18:52:57.333375','2026-11-18 18:52:47.333375');
INSERT INTO "trials" VALUES(54,8,2,12,9,'stimulus','mg47m4YTq3EG-L8D5ddcHtfwj6_qvQBE','rated','2026-11-18 18:53:07.333375','2026-11-18 18:52:57.333375');
INSERT INTO "trials" VALUES(55,9,2,22,1,'anchor','Yl-yfLMOlPE3elT8Lb4Mp8w1OrW60dVT','rated','2026-11-18 19:03:17.333375','2026-11-18 19:03:17.333375');
INSERT INTO "trials" VALUES(56,9,2,6,2,'stimulus','gPPw3QWIslNlJtCIioaY2b_eNcaVDv87','rated','2026-11-18 19:03:27.333375','2026-11-18 19:03:17.333375');
INSERT INTO "trials" VALUES(57,9,2,7,3,'stimulus','Wp4Hrbab90MMtBkFtINsT_7ep5dQbHgR','rated','2026-11-18 19:03:37.333375','2026-11-18 19:03:27.333375');
INSERT INTO "trials" VALUES(58,9,2,21,4,'anchor','-x9X9fJLuCXsZIPSux9PCejNDGjlZG4Q','rated','2026-11-18 19:03:47.333375','2026-11-18 19:03:37.333375');
INSERT INTO "trials" VALUES(59,9,2,13,5,'stimulus','DRmFvpYGw_9If8Qq9Du7Jt2ZCEUXYHZx','rated','2026-11-18 19:03:56.666750','2026-11-18 19:03:47.333375');
INSERT INTO "trials" VALUES(60,9,2,6,6,'duplicate','aZtjiCgR_BKpRLlhmCRTNBdJeFXTtqv4','rated','2026-11-18 19:04:06.666750','2026-11-18 19:03:56.666750');
INSERT INTO "trials" VALUES(61,10,3,16,1,'training','s7WizWmCqu4yxM1V_ECj4q49gxaFcs6S','rated','2026-11-19 12:29:00.000000','2026-11-19 12:29:00.000000');
INSERT INTO "trials" VALUES(62,10,3,17,2,'training','vMzr9SVO563aVp6DdGLEU8mN7aFzalJa','rated','2026-11-19 12:29:10.000000','2026-11-19 12:29:00.000000');
INSERT INTO "trials" VALUES(63,10,3,18,3,'training','Ee0nnRnapsnzXrC9OoPupShJtTgNkQKE','rated','2026-11-19 12:29:20.000000','2026-11-19 12:29:10.000000');
INSERT INTO "trials" VALUES(64,11,3,11,1,'stimulus','fe3PqX4JbfrDQCwMbyAbdgdcCFahVlU3','rated','2026-11-19 12:39:30.000000','2026-11-19 12:39:30.000000');
INSERT INTO "trials" VALUES(65,11,3,3,2,'stimulus','LgAzIWz8h_wurz55TAUgbgpm8nEi0dZR','rated','2026-11-19 12:39:40.000000','2026-11-19 12:39:30.000000');
INSERT INTO "trials" VALUES(66,11,3,10,3,'stimulus','VDqq-H1iZ6cp_FO-LfDVBP-VyPaYVe5n','rated','2026-11-19 12:39:50.000000','2026-11-19 12:39:40.000000');
INSERT INTO "trials" VALUES(67,11,3,21,4,'anchor','6ENj3if2R5xxwr2P2Al39nQ7MDqdv6kj','rated','2026-11-19 12:40:00.000000','2026-11-19 12:39:50.000000');
INSERT INTO "trials" VALUES(68,11,3,20,5,'anchor','eHX7gy1tV-plbFyHWWDG-pjxYid9vHy2','rated','2026-11-19 12:40:09.333375','2026-11-19 12:40:00.000000');
INSERT INTO "trials" VALUES(69,11,3,8,6,'stimulus','dEgz1rM1DDU3XcUecYyc0-dFAplx4cAV','rated','2026-11-19 12:40:19.333375','2026-11-19 12:40:09.333375');
INSERT INTO "trials" VALUES(70,11,3,2,7,'stimulus','Hzbv2fbH9_y5itAefQQCs4Ad0BYAsCwW','rated','2026-11-19 12:40:29.333375','2026-11-19 12:40:19.333375');
INSERT INTO "trials" VALUES(71,11,3,14,8,'stimulus','NbAcAxvjZke0fqXExv0ipd044oZw75px','rated','2026-11-19 12:40:39.333375','2026-11-19 12:40:29.333375');
INSERT INTO "trials" VALUES(72,11,3,11,9,'duplicate','JabzKv46u_awfKyxmiplW75BzqnvPf4-','rated','2026-11-19 12:40:49.333375','2026-11-19 12:40:39.333375');
INSERT INTO "trials" VALUES(73,12,3,23,1,'anchor','JFQW4TgRvikI9duOxWUuCzeH7rzJ6VN2','rated','2026-11-19 12:50:59.333375','2026-11-19 12:50:59.333375');
INSERT INTO "trials" VALUES(74,12,3,9,2,'stimulus','APNnPsSKjK-kOrfUOF-MYJnxR1kR4whR','rated','2026-11-19 12:51:09.333375','2026-11-19 12:50:59.333375');
INSERT INTO "trials" VALUES(75,12,3,7,3,'stimulus','kx2Skxiv0RAfg9DST9lFYtkBe-Js-api','rated','2026-11-19 12:51:19.333375','2026-11-19 12:51:09.333375');
INSERT INTO "trials" VALUES(76,12,3,15,4,'stimulus','rLEe9GP7KriVT5npPZRjyoyl-XDzQY2-','rated','2026-11-19 12:51:29.333375','2026-11-19 12:51:19.333375');
INSERT INTO "trials" VALUES(77,12,3,19,5,'anchor','unoMnjC-mLyy1jd7QSrjFvT-KW0GV8z6','rated','2026-11-19 12:51:39.333375','2026-11-19 12:51:29.333375');
INSERT INTO "trials" VALUES(78,12,3,4,6,'stimulus','C7yGi_WTyclcYAfKvV28iLYiCmj7YYZL','rated','2026-11-19 12:51:49.333375','2026-11-19 12:51:39.333375');
INSERT INTO "trials" VALUES(79,12,3,1,7,'stimulus','heDRGopQiRHBolgCk6IyYOeGu9vJ21za','rated','2026-11-19 12:52:23.333375','2026-11-19 12:51:49.333375');
INSERT INTO "trials" VALUES(80,12,3,15,8,'duplicate','ev7_YlgqWn2KkfU6vKANRmdUIsr3QKX4','rated','2026-11-19 12:52:33.333375','2026-11-19 12:52:23.333375');
INSERT INTO "trials" VALUES(81,12,3,6,9,'stimulus','HuTTNCPJrz-7wtxWFPKWVOzPy0ad1ZfU','rated','2026-11-19 12:52:43.333375','2026-11-19 12:52:33.333375');
INSERT INTO "trials" VALUES(82,13,4,16,1,'training','nu2jBZrTxhCSZBwaCqmilE3fwzeSGDFX','rated','2026-11-19 17:29:00.000000','2026-11-19 17:29:00.000000');
INSERT INTO "trials" VALUES(83,13,4,17,2,'training','sPI-FiYnuE0wZJWiblWQ7zjZdZt6OpZU','rated','2026-11-19 17:29:10.000000','2026-11-19 17:29:00.000000');
INSERT INTO "trials" VALUES(84,13,4,18,3,'training','yOy20_C1Wncg5ffK4KvCW-9S35sVAnqE','rated','2026-11-19 17:29:20.000000','2026-11-19 17:29:10.000000');
INSERT INTO "trials" VALUES(85,14,4,2,1,'stimulus','j551obKJlAAgMGF6uDRJqOdHBdJzoxyB','rated','2026-11-19 17:39:30.000000','2026-11-19 17:39:30.000000');
INSERT INTO "trials" VALUES(86,14,4,10,2,'stimulus','NiSSUdXcRWbB9I-5vICSas6QXPDFGej2','rated','2026-11-19 17:39:40.000000','2026-11-19 17:39:30.000000');
INSERT INTO "trials" VALUES(87,14,4,14,3,'stimulus','VkgOeoKsDSA_I9w_k89Of0l6Ckai7umD','rated','2026-11-19 17:39:50.000000','2026-11-19 17:39:40.000000');
INSERT INTO "trials" VALUES(88,14,4,3,4,'stimulus','zcUY0kATDmdLpAcFEFbFCVIpuPpWuYXu','rated','2026-11-19 17:40:00.000000','2026-11-19 17:39:50.000000');
INSERT INTO "trials" VALUES(89,14,4,20,5,'anchor','NRWouGjkIJ-Z5MQO85sgmgbvo45PDG4I','rated','2026-11-19 17:40:10.000000','2026-11-19 17:40:00.000000');
INSERT INTO "trials" VALUES(90,14,4,22,6,'anchor','lZWKWlYyK58tjifF5zXj3yAexui9FngE','rated','2026-11-19 17:40:20.000000','2026-11-19 17:40:10.000000');
INSERT INTO "trials" VALUES(91,14,4,8,7,'stimulus','f--sW6o1wBRLyuCTm751lIRo_lAlj3A_','rated','2026-11-19 17:40:30.000000','2026-11-19 17:40:20.000000');
INSERT INTO "trials" VALUES(92,14,4,11,8,'stimulus','D-Cct02Sn-bBrHbH4eiYM5TwFrhnbRtD','rated','2026-11-19 17:40:40.000000','2026-11-19 17:40:30.000000');
INSERT INTO "trials" VALUES(93,14,4,10,9,'duplicate','fpRmi_OCJDQuF9tPUl2u7lV_KC58DwVi','rated','2026-11-19 17:40:50.000000','2026-11-19 17:40:40.000000');
INSERT INTO "trials" VALUES(94,15,4,19,1,'anchor','XyMJrM2CthZwyC21AHUFJtr-i-JuyuyS','rated','2026-11-19 17:51:00.000000','2026-11-19 17:51:00.000000');
INSERT INTO "trials" VALUES(95,15,4,4,2,'stimulus','o0bXVDYsu2ZTSJl9hd1V4CWqalwHTSdm','rated','2026-11-19 17:51:10.000000','2026-11-19 17:51:00.000000');
INSERT INTO "trials" VALUES(96,15,4,7,3,'stimulus','SynDVLlVyXyr7u7tZUG55HFv8oURw2lu','rated','2026-11-19 17:51:20.000000','2026-11-19 17:51:10.000000');
INSERT INTO "trials" VALUES(97,15,4,6,4,'stimulus','Ngw7mTjgdgDJYUzcFhA5L5NZUaQA466f','rated','2026-11-19 17:51:30.000000','2026-11-19 17:51:20.000000');
INSERT INTO "trials" VALUES(98,15,4,5,5,'stimulus','Vc6wWN6_nlft-9TYUd_PKhNAd3FXD905','rated','2026-11-19 17:51:40.000000','2026-11-19 17:51:30.000000');
INSERT INTO "trials" VALUES(99,15,4,13,6,'stimulus','1jgUoHCOTFlwmGbwfuM0HHntF29-beg5','rated','2026-11-19 17:52:14.000000','2026-11-19 17:51:40.000000');
INSERT INTO "trials" VALUES(100,15,4,23,7,'anchor','fOcdl9ZIId4uQ3dZRN0V3ELLXPasGjXS','rated','2026-11-19 17:52:24.000000','2026-11-19 17:52:14.000000');
INSERT INTO "trials" VALUES(101,15,4,12,8,'stimulus','QrCofqs-WAFe693erlnuJ0_khLbxH7y_','rated','2026-11-19 17:52:34.000000','2026-11-19 17:52:24.000000');
INSERT INTO "trials" VALUES(102,15,4,6,9,'duplicate','fdTwohfCRX2XWoQW0vUheJzPUOzSDGD6','rated','2026-11-19 17:52:44.000000','2026-11-19 17:52:34.000000');
INSERT INTO "trials" VALUES(103,16,5,16,1,'training','-IsOYx3oe0EjAsJRHV_g3ivb0yGwQnei','rated','2026-11-20 12:29:00.000000','2026-11-20 12:29:00.000000');
INSERT INTO "trials" VALUES(104,16,5,17,2,'training','yDbRzLOb7d47GBwCTIBKY-p0Qs2LGJPz','rated','2026-11-20 12:29:10.000000','2026-11-20 12:29:00.000000');
INSERT INTO "trials" VALUES(105,16,5,18,3,'training','OUCsmUo7L-6TowKPuBNNNL4-BjfiKTtN','rated','2026-11-20 12:29:20.000000','2026-11-20 12:29:10.000000');
INSERT INTO "trials" VALUES(106,17,5,3,1,'stimulus','cBLYp9-X1qxTCTY8WwRIAiBbpbPxYm7C','rated','2026-11-20 12:39:30.000000','2026-11-20 12:39:30.000000');
INSERT INTO "trials" VALUES(107,17,5,11,2,'stimulus','MKh10hwoJg90JGlZlUbrsKW4E0Tck40K','rated','2026-11-20 12:39:40.000000','2026-11-20 12:39:30.000000');
INSERT INTO "trials" VALUES(108,17,5,10,3,'stimulus','QoNLF6iLj6qRjVxqdbi_tcAjZrBDcBAV','released','2026-11-20 12:39:50.000000','2026-11-20 12:39:40.000000');
INSERT INTO "trials" VALUES(109,17,5,8,4,'stimulus','10-9qpgndIV76tKfh-bXkLPYjB40CFca','rated','2026-11-20 12:39:55.000000','2026-11-20 12:39:55.000000');
INSERT INTO "trials" VALUES(110,17,5,19,5,'anchor','zzMI8vkt5OSLsLJ8jnYXK4BnLoatyBH4','rated','2026-11-20 12:40:29.000000','2026-11-20 12:39:55.000000');
INSERT INTO "trials" VALUES(111,17,5,23,6,'anchor','HoiCc58DqLHzcMNazBKbERStfwpYvrA4','rated','2026-11-20 12:40:39.000000','2026-11-20 12:40:29.000000');
INSERT INTO "trials" VALUES(112,17,5,11,7,'duplicate','07P8pAGlkbnzFeDt3H9pVzn77-wIvvAn','rated','2026-11-20 12:40:49.000000','2026-11-20 12:40:39.000000');
INSERT INTO "trials" VALUES(113,17,5,2,8,'stimulus','_vZcSn-V1ZpKpyXVsDItjjyqhsKIY7rB','rated','2026-11-20 12:40:59.000000','2026-11-20 12:40:49.000000');
INSERT INTO "trials" VALUES(114,17,5,14,9,'stimulus','-Wawg3mprvSEoL_WJjm3womI20bZ69bu','rated','2026-11-20 12:41:09.000000','2026-11-20 12:40:59.000000');
INSERT INTO "trials" VALUES(115,18,10,16,1,'training','Mfne-bU6zx8Qy_qCKp5Lsv5az6Wiszpf','rated','2026-11-20 18:29:00.000000','2026-11-20 18:29:00.000000');
INSERT INTO "trials" VALUES(116,18,10,17,2,'training','4wX_OrX23mFONqYy7TSvYbhEbYatR9pV','rated','2026-11-20 18:29:10.000000','2026-11-20 18:29:00.000000');
INSERT INTO "trials" VALUES(117,18,10,18,3,'training','dmOtUlPoupTxA-kcvOWHQ81seQbOEhmp','rated','2026-11-20 18:29:20.000000','2026-11-20 18:29:10.000000');
INSERT INTO "trials" VALUES(118,19,10,2,1,'stimulus','IOIhJSGSyz9B-6IQBClSz3HiR03N42v6','rated','2026-11-20 18:39:30.000000','2026-11-20 18:39:30.000000');
INSERT INTO "trials" VALUES(119,19,10,14,2,'stimulus','NgT23ZPF20jNutM1tlAI8RA3Ap6edxEj','rated','2026-11-20 18:39:40.000000','2026-11-20 18:39:30.000000');
INSERT INTO "trials" VALUES(120,19,10,10,3,'stimulus','HVhkcRSo-uJSJF_JjmZOk_CM5MXaT1hZ','rated','2026-11-20 18:39:50.000000','2026-11-20 18:39:40.000000');
INSERT INTO "trials" VALUES(121,19,10,11,4,'stimulus','WYMTjuogs0KFzWqInWdBjv13fYcWeXYX','rated','2026-11-20 18:40:00.000000','2026-11-20 18:39:50.000000');
INSERT INTO "trials" VALUES(122,19,10,2,5,'duplicate','FAliKuVOJNoLPuOWlcTCagDETi5rqo05','rated','2026-11-20 18:40:34.000000','2026-11-20 18:40:00.000000');
INSERT INTO "trials" VALUES(123,19,10,8,6,'stimulus','9_dCktsED8V8LcQ-kmR99fW4YWQo8sDO','rated','2026-11-20 18:40:44.000000','2026-11-20 18:40:34.000000');
INSERT INTO "trials" VALUES(124,19,10,3,7,'stimulus','2V5itc7kYsvB3Y-fY-N8oBIcrnAj_NeL','rated','2026-11-20 18:40:54.000000','2026-11-20 18:40:44.000000');
INSERT INTO "trials" VALUES(125,19,10,22,8,'anchor','-0BK-Tfo6n4XFRvs2q_7r4TrcqsyfrI-','rated','2026-11-20 18:41:04.000000','2026-11-20 18:40:54.000000');
INSERT INTO "trials" VALUES(126,19,10,19,9,'anchor','mh86_tCW61ti9oh2iYJ-evXHmmb_HY0o','rated','2026-11-20 18:41:14.000000','2026-11-20 18:41:04.000000');
INSERT INTO "trials" VALUES(127,20,6,16,1,'training','re1tswqhqmHY0WRUCJcEEV67Ol_D9oY-','rated','2026-11-21 12:29:00.000000','2026-11-21 12:29:00.000000');
INSERT INTO "trials" VALUES(128,20,6,17,2,'training','2bc5MAaaaa2di_U1mxT1gla5_h-nkpFm','rated','2026-11-21 12:29:04.500000','2026-11-21 12:29:00.000000');
INSERT INTO "trials" VALUES(129,20,6,18,3,'training','hcr1yOF95oCKWJTX-bS4IJzw_kEEQgsz','rated','2026-11-21 12:29:09.000000','2026-11-21 12:29:04.500000');
INSERT INTO "trials" VALUES(130,21,6,14,1,'stimulus','3bEvjTEEq0aPlbUIJ6tHqSSFZs4cQHZ1','rated','2026-11-21 12:39:13.500000','2026-11-21 12:39:13.500000');
INSERT INTO "trials" VALUES(131,21,6,21,2,'anchor','POKyj9oi6uJlGIYdUEswEpQQSkS_c1EQ','rated','2026-11-21 12:39:17.800000','2026-11-21 12:39:13.500000');
INSERT INTO "trials" VALUES(132,21,6,2,3,'stimulus','BkNnGxWgvi8rkE2nwV8LIZyifVjn_7yQ','rated','2026-11-21 12:39:21.433375','2026-11-21 12:39:17.800000');
INSERT INTO "trials" VALUES(133,21,6,3,4,'stimulus','Bd2FJIDOn9bxTp5A_1ehIxhR42fXQWqK','rated','2026-11-21 12:39:25.733375','2026-11-21 12:39:21.433375');
INSERT INTO "trials" VALUES(134,21,6,19,5,'anchor','TXK9BNv0ZRyVPZhJu7x2UXah44JkySop','rated','2026-11-21 12:39:30.033375','2026-11-21 12:39:25.733375');
INSERT INTO "trials" VALUES(135,21,6,14,6,'duplicate','z5Ha85bwnLnQXPVwojieBBdiRzNgW1AL','rated','2026-11-21 12:39:34.333375','2026-11-21 12:39:30.033375');
INSERT INTO "trials" VALUES(136,21,6,11,7,'stimulus','STNy4mGqB9iXFnZ_aGXICeVfHz2XWw-7','rated','2026-11-21 12:39:38.633375','2026-11-21 12:39:34.333375');
INSERT INTO "trials" VALUES(137,21,6,8,8,'stimulus','GqwLimaDLs3VnelsFXB48OWhoKfMkEg8','rated','2026-11-21 12:39:42.933375','2026-11-21 12:39:38.633375');
INSERT INTO "trials" VALUES(138,21,6,10,9,'stimulus','HVOc1Y4wWE7s3ZdgRPSpe82cEmXKcatc','rated','2026-11-21 12:39:47.233375','2026-11-21 12:39:42.933375');
INSERT INTO "trials" VALUES(139,22,6,22,1,'anchor','a0ugqwZSB8c00PmRT_ZUhcRnoO4UGppf','rated','2026-11-21 12:49:51.533375','2026-11-21 12:49:51.533375');
INSERT INTO "trials" VALUES(140,22,6,15,2,'stimulus','NOOBaDO7_2KC0AvL3imC1fBizD62eR9R','rated','2026-11-21 12:49:55.833375','2026-11-21 12:49:51.533375');
INSERT INTO "trials" VALUES(141,22,6,12,3,'stimulus','vDC0cWJB6nYcQBd00aYUDZs1nOPOEn1X','rated','2026-11-21 12:50:00.133375','2026-11-21 12:49:55.833375');
INSERT INTO "trials" VALUES(142,22,6,13,4,'stimulus','qqtWkuqmyF4dx_Hhzsmu0lqxBgOz7PqC','rated','2026-11-21 12:50:04.433375','2026-11-21 12:50:00.133375');
INSERT INTO "trials" VALUES(143,22,6,20,5,'anchor','VQ_AjBhkME3HMsID6hr8lPcEtnjIlA80','rated','2026-11-21 12:50:08.733375','2026-11-21 12:50:04.433375');
INSERT INTO "trials" VALUES(144,22,6,5,6,'stimulus','7ACALrvu7u2jUDAD8y6u9AFEYWZX3Gj4','rated','2026-11-21 12:50:13.033375','2026-11-21 12:50:08.733375');
INSERT INTO "trials" VALUES(145,22,6,15,7,'duplicate','sxSKT44DTr5imppEhyE4Owk19o5JGkLo','rated','2026-11-21 12:50:17.333375','2026-11-21 12:50:13.033375');
INSERT INTO "trials" VALUES(146,22,6,9,8,'stimulus','Jhvh-ccV3v1JgQVWwbegSIhfI09g2JbI','rated','2026-11-21 12:50:21.633375','2026-11-21 12:50:17.333375');
INSERT INTO "trials" VALUES(147,22,6,1,9,'stimulus','FeGgWYE972PLUSl_wl-bRSfRCrpeG8LB','rated','2026-11-21 12:50:25.933375','2026-11-21 12:50:21.633375');
INSERT INTO "trials" VALUES(148,23,11,16,1,'training','kMZrdmG4Fnpjfolu_O-iyNqJ4IVKwgqe','rated','2026-11-21 17:29:00.000000','2026-11-21 17:29:00.000000');
INSERT INTO "trials" VALUES(149,23,11,17,2,'training','t2wL_ziFu99hoOq58uCnarh017IC-Urh','rated','2026-11-21 17:29:10.000000','2026-11-21 17:29:00.000000');
INSERT INTO "trials" VALUES(150,23,11,18,3,'training','lhssWWz5aYatry2Lnpv--HeEazoGFkTW','rated','2026-11-21 17:29:20.000000','2026-11-21 17:29:10.000000');
INSERT INTO "trials" VALUES(151,24,11,3,1,'stimulus','ZIiw4XAxbDri4YRgSi5xT5FaKCh9j49c','rated','2026-11-21 17:39:30.000000','2026-11-21 17:39:30.000000');
INSERT INTO "trials" VALUES(152,24,11,14,2,'stimulus','865eBJ1OuCAjQMnIY3YgoKQ_jdZFZ3xW','rated','2026-11-21 17:39:40.000000','2026-11-21 17:39:30.000000');
INSERT INTO "trials" VALUES(153,24,11,8,3,'stimulus','97QDThDSofGoh4hGjUzVb-IhVThZEI-3','rated','2026-11-21 17:39:50.000000','2026-11-21 17:39:40.000000');
INSERT INTO "trials" VALUES(154,24,11,21,4,'anchor','UqG1F28Vtu2nvlOXkQdvp-dgKoj6cnO0','rated','2026-11-21 17:40:00.000000','2026-11-21 17:39:50.000000');
INSERT INTO "trials" VALUES(155,24,11,11,5,'stimulus','b2tW1RYAcGB4lmIp6FCrYS8UKDH83-To','rated','2026-11-21 17:40:09.333375','2026-11-21 17:40:00.000000');
INSERT INTO "trials" VALUES(156,24,11,14,6,'duplicate','oaYq59eIOvoks_pTHRXJz6tpdisMR5CD','rated','2026-11-21 17:40:43.333375','2026-11-21 17:40:09.333375');
INSERT INTO "trials" VALUES(157,24,11,2,7,'stimulus','z3dEFyXveGvo0IXtRp29CMQYporGT7nH','rated','2026-11-21 17:40:53.333375','2026-11-21 17:40:43.333375');
INSERT INTO "trials" VALUES(158,24,11,10,8,'stimulus','xF4J-J0x9CUeSdZdJUzHGDxQKfW0C3Zd','rated','2026-11-21 17:41:03.333375','2026-11-21 17:40:53.333375');
INSERT INTO "trials" VALUES(159,24,11,20,9,'anchor','ZSWWj1gsiQyF7mkIOEkjR0IFIGKLL4GT','rated','2026-11-21 17:41:13.333375','2026-11-21 17:41:03.333375');
INSERT INTO "trials" VALUES(160,25,11,1,1,'stimulus','keQCxM9v8zPHWzliOYh1X3tIRViDk-lA','rated','2026-11-21 17:51:23.333375','2026-11-21 17:51:23.333375');
INSERT INTO "trials" VALUES(161,25,11,19,2,'anchor','RZ77D_yYYyoy4LdQBV05psZ1STfTDH1w','rated','2026-11-21 17:51:33.333375','2026-11-21 17:51:23.333375');
INSERT INTO "trials" VALUES(162,25,11,6,3,'stimulus','anuZ6DbhsjRuU269jdJ-DcKV61MvEUqR','rated','2026-11-21 17:51:43.333375','2026-11-21 17:51:33.333375');
INSERT INTO "trials" VALUES(163,25,11,12,4,'stimulus','r0_1Qf9-dMjnTq89I9q1IV5Z1g5k2x-U','rated','2026-11-21 17:51:53.333375','2026-11-21 17:51:43.333375');
INSERT INTO "trials" VALUES(164,25,11,5,5,'stimulus','qoop3woLM7kw1-cTc_E_E5hhOSU2yPmQ','rated','2026-11-21 17:52:03.333375','2026-11-21 17:51:53.333375');
INSERT INTO "trials" VALUES(165,25,11,23,6,'anchor','ciOsXt5QanoA1DAOl3SJpEYMwGcSF_nu','rated','2026-11-21 17:52:37.333375','2026-11-21 17:52:03.333375');
INSERT INTO "trials" VALUES(166,25,11,15,7,'stimulus','z1C7CuLUNMKG4rVPCvPSQlfpGHsU4r_S','rated','2026-11-21 17:52:47.333375','2026-11-21 17:52:37.333375');
INSERT INTO "trials" VALUES(167,25,11,12,8,'duplicate','2n9ffAs6S89RdQGPkKfdtQm6umV9vQ9X','rated','2026-11-21 17:52:57.333375','2026-11-21 17:52:47.333375');
INSERT INTO "trials" VALUES(168,25,11,9,9,'stimulus','7eGPSdhRCRxHRE08mTHbYLfarG-6PQ3Q','rated','2026-11-21 17:53:07.333375','2026-11-21 17:52:57.333375');
INSERT INTO "trials" VALUES(169,26,10,13,1,'stimulus','xZMmLMPXwCIhrXjU1oD_nVRJ4MozqwYu','rated','2026-11-22 12:29:00.000000','2026-11-22 12:29:00.000000');
INSERT INTO "trials" VALUES(170,26,10,23,2,'anchor','wE2rS4u9AI3ADZ0kagHOnsR_ZS166jgn','rated','2026-11-22 12:29:10.000000','2026-11-22 12:29:00.000000');
INSERT INTO "trials" VALUES(171,26,10,21,3,'anchor','uIk1fJ2BQNqpR4lmXN_Tcg-AesRoFp12','rated','2026-11-22 12:29:20.000000','2026-11-22 12:29:10.000000');
INSERT INTO "trials" VALUES(172,26,10,7,4,'stimulus','-nuXwhRPeW7jtLq54Z_Vjy_p5SZ6WrMu','rated','2026-11-22 12:29:29.333375','2026-11-22 12:29:20.000000');
INSERT INTO "trials" VALUES(173,26,10,4,5,'stimulus','ExWnMId6ZbQDxloKd6oERaZKTChE7vd5','rated','2026-11-22 12:29:39.333375','2026-11-22 12:29:29.333375');
INSERT INTO "trials" VALUES(174,26,10,13,6,'duplicate','G2heVEw94WDEUafFR37wCtXgJSeolcz_','rated','2026-11-22 12:29:49.333375','2026-11-22 12:29:39.333375');
INSERT INTO "trials" VALUES(175,27,1,22,1,'anchor','zaqRjoc-8DPSH8ZlKT9f0O07BCwa9MWb','rated','2026-11-22 15:29:00.000000','2026-11-22 15:29:00.000000');
INSERT INTO "trials" VALUES(176,27,1,11,2,'stimulus','LFLfj79zUtHC-vHwqzkVdTbbSnw0jYiW','rated','2026-11-22 15:29:10.000000','2026-11-22 15:29:00.000000');
INSERT INTO "trials" VALUES(177,27,1,23,3,'anchor','Yf1XWcDqiA9agBOt2-dw8f1WE0V2iB1w','rated','2026-11-22 15:29:20.000000','2026-11-22 15:29:10.000000');
INSERT INTO "trials" VALUES(178,28,12,16,1,'training','yKf7tzZEe1x0IAtKbEuevXr-LgX3Im-r','rated','2026-11-22 18:29:00.000000','2026-11-22 18:29:00.000000');
INSERT INTO "trials" VALUES(179,28,12,17,2,'training','Qmg-ChlEFk6DqDr9m7uRZzvOBitiLt7i','rated','2026-11-22 18:29:10.000000','2026-11-22 18:29:00.000000');
INSERT INTO "trials" VALUES(180,28,12,18,3,'training','mzoHQganYq_AtqixmOOHes59TweAlDqe','rated','2026-11-22 18:29:20.000000','2026-11-22 18:29:10.000000');
INSERT INTO "trials" VALUES(181,29,12,11,1,'stimulus','MZgtO75irWffUnrPqYb-lMLouFkmebLs','rated','2026-11-22 18:39:30.000000','2026-11-22 18:39:30.000000');
INSERT INTO "trials" VALUES(182,29,12,8,2,'stimulus','XctKUIRPpn6vflT2CLuebMFI1OioEakt','rated','2026-11-22 18:39:40.000000','2026-11-22 18:39:30.000000');
INSERT INTO "trials" VALUES(183,29,12,22,3,'anchor','V1Ay71c3GPouWYKFbJIHQ1h4rfMObljH','rated','2026-11-22 18:39:50.000000','2026-11-22 18:39:40.000000');
INSERT INTO "trials" VALUES(184,29,12,14,4,'stimulus','Fp__WXd5945jN2rlifA772PyI97qwe9g','rated','2026-11-22 18:40:00.000000','2026-11-22 18:39:50.000000');
INSERT INTO "trials" VALUES(185,29,12,19,5,'anchor','J-WEZDZb8ZnXiGSC5fVSnxASxKuoeT8T','rated','2026-11-22 18:40:10.000000','2026-11-22 18:40:00.000000');
INSERT INTO "trials" VALUES(186,29,12,3,6,'stimulus','ry4bacfUsLm0s-DiI0O8zcOEg2M96d4Y','rated','2026-11-22 18:40:20.000000','2026-11-22 18:40:10.000000');
INSERT INTO "trials" VALUES(187,29,12,2,7,'stimulus','bT5kNpxa7iAIveetJZzglv8bd-2xpET6','rated','2026-11-22 18:40:54.000000','2026-11-22 18:40:20.000000');
INSERT INTO "trials" VALUES(188,29,12,10,8,'stimulus','ixzDPyjX1fjQO2rFWSwEr6JzFiNH0hcl','rated','2026-11-22 18:41:04.000000','2026-11-22 18:40:54.000000');
INSERT INTO "trials" VALUES(189,29,12,14,9,'duplicate','XDuQiwNaccYhsSZLzWqpkZ9xkgEVCzoF','rated','2026-11-22 18:41:14.000000','2026-11-22 18:41:04.000000');
INSERT INTO "trials" VALUES(190,30,13,28,1,'stimulus','QYHazpPRMNCZS8a49M8ycxUoSB4PtEmu','rated','2026-11-23 15:29:00.000000','2026-11-23 15:29:00.000000');
INSERT INTO "trials" VALUES(191,30,13,33,2,'anchor','frrxdPdpmxYS3SsmKSa0L5oz0yc8_7-T','rated','2026-11-23 15:29:09.000000','2026-11-23 15:29:00.000000');
INSERT INTO "trials" VALUES(192,30,13,26,3,'stimulus','i3Z_B5I48-6NLdeDlIYN9VME8Y14jHWh','rated','2026-11-23 15:29:18.000000','2026-11-23 15:29:09.000000');
INSERT INTO "trials" VALUES(193,30,13,28,4,'duplicate','Rgdw6lqJCWHJ3ozzxkyFX5rrvLhUByJA','rated','2026-11-23 15:29:27.000000','2026-11-23 15:29:18.000000');
INSERT INTO "trials" VALUES(194,30,13,31,5,'stimulus','AioRv9ftT1AOESzKm2GuWugCGlz7ngfh','rated','2026-11-23 15:29:36.000000','2026-11-23 15:29:27.000000');
INSERT INTO "trials" VALUES(195,30,13,25,6,'stimulus','5hBvpNlBQe0TECRZ3SH0w3Tr3jGsmbUI','rated','2026-11-23 15:29:45.000000','2026-11-23 15:29:36.000000');
INSERT INTO "trials" VALUES(196,31,13,24,1,'stimulus','4aS6rB6l8fViPMQEFRpGwCs8Z150DTHe','rated','2026-11-23 15:40:18.000000','2026-11-23 15:40:18.000000');
INSERT INTO "trials" VALUES(197,31,13,30,2,'stimulus','lzQTHnt-g4bLXXc_wjT9wL_qo3SKeZyE','rated','2026-11-23 15:40:27.000000','2026-11-23 15:40:18.000000');
INSERT INTO "trials" VALUES(198,31,13,29,3,'stimulus','C5RlN4YgwwIbiVHZBfuSlxudyIS3HCfh','rated','2026-11-23 15:40:36.000000','2026-11-23 15:40:27.000000');
INSERT INTO "trials" VALUES(199,31,13,27,4,'stimulus','vofdU_xVgIlP1--Q5y_pJBm_c5X0_6sI','rated','2026-11-23 15:40:45.000000','2026-11-23 15:40:36.000000');
INSERT INTO "trials" VALUES(200,31,13,32,5,'anchor','PpjbM02xjCsXhNtprDWohh6RT3aaoTmM','rated','2026-11-23 15:41:18.000000','2026-11-23 15:40:45.000000');
INSERT INTO "trials" VALUES(201,31,13,30,6,'duplicate','HwIsZOkl50WzOXserVCEGoh3kBQj0sZj','rated','2026-11-23 15:41:27.000000','2026-11-23 15:41:18.000000');
INSERT INTO "trials" VALUES(202,32,14,32,1,'anchor','eHgCtaKfBcbE80y-F3XC5zUdMgTMBAuT','rated','2026-11-23 17:29:00.000000','2026-11-23 17:29:00.000000');
INSERT INTO "trials" VALUES(203,32,14,29,2,'stimulus','WHv0UHNVUDf4gwzhhKiyNUyBpcOAteQO','rated','2026-11-23 17:29:09.000000','2026-11-23 17:29:00.000000');
INSERT INTO "trials" VALUES(204,32,14,26,3,'stimulus','ekcZY4OVyIIJ_zcMz2EIsmwbMvrI96gm','rated','2026-11-23 17:29:18.000000','2026-11-23 17:29:09.000000');
INSERT INTO "trials" VALUES(205,32,14,31,4,'stimulus','l34wzPMHevPnAeFnGsM5ibptiVy-W4AO','rated','2026-11-23 17:29:27.000000','2026-11-23 17:29:18.000000');
INSERT INTO "trials" VALUES(206,32,14,25,5,'stimulus','QXCfLBPsjGJ0w7pELrxJJ_H-qrJ0O7Cw','rated','2026-11-23 17:29:36.000000','2026-11-23 17:29:27.000000');
INSERT INTO "trials" VALUES(207,32,14,26,6,'duplicate','TR9ApgwR1lw5d1KIii1Ya1K1RjsiAOg6','rated','2026-11-23 17:30:09.000000','2026-11-23 17:29:36.000000');
INSERT INTO "trials" VALUES(208,33,14,28,1,'stimulus','ejoA94V1bl2AyMCme0Ii45yU72zv3FDk','rated','2026-11-23 17:40:18.000000','2026-11-23 17:40:18.000000');
INSERT INTO "trials" VALUES(209,33,14,33,2,'anchor','eAUIb_miQss50CjIHeYTStdSwUusE3f0','rated','2026-11-23 17:40:27.000000','2026-11-23 17:40:18.000000');
INSERT INTO "trials" VALUES(210,33,14,27,3,'stimulus','vqoO2bzPxpFQv5MMuzI0Rilyze1zjykY','rated','2026-11-23 17:40:36.000000','2026-11-23 17:40:27.000000');
INSERT INTO "trials" VALUES(211,33,14,30,4,'stimulus','wEAcmidNa4kblr_GDWMQOfmtYeAJY6vi','rated','2026-11-23 17:40:45.000000','2026-11-23 17:40:36.000000');
INSERT INTO "trials" VALUES(212,33,14,24,5,'stimulus','0i5U4XNf62LFJd5bJlVBsZpJyuj1RpPG','rated','2026-11-23 17:40:54.000000','2026-11-23 17:40:45.000000');
INSERT INTO "trials" VALUES(213,33,14,27,6,'duplicate','UpyxMO6yLSOneNfQdbtDvCebnhlh9gE6','rated','2026-11-23 17:41:27.000000','2026-11-23 17:40:54.000000');
INSERT INTO "trials" VALUES(214,34,15,32,1,'anchor','NYlcA12-gQm_r1ZwobyGy1MDLK-Wp30L','rated','2026-11-23 19:29:00.000000','2026-11-23 19:29:00.000000');
INSERT INTO "trials" VALUES(215,34,15,25,2,'stimulus','qGkNcXGp-EFq_SBnrItlQwnAlxkaI73x','rated','2026-11-23 19:29:09.000000','2026-11-23 19:29:00.000000');
INSERT INTO "trials" VALUES(216,34,15,31,3,'stimulus','XiEPYm8L7zoENKwejIontuXMnhDjbfrg','rated','2026-11-23 19:29:18.000000','2026-11-23 19:29:09.000000');
INSERT INTO "trials" VALUES(217,34,15,28,4,'stimulus','1wpYzPoykCFTsa2t-j8pLobJ5uwW8RWk','open','2026-11-23 19:29:27.000000','2026-11-23 19:29:18.000000');
INSERT INTO "trials" VALUES(218,34,15,29,5,'stimulus','-XX2pEJVSjk5r2MUsQwu57x39_qt9w3i','open',NULL,NULL);
INSERT INTO "trials" VALUES(219,34,15,25,6,'duplicate','zuvbd4VnUn1LYNGdmHN3N3gQRjUEHoB3','open',NULL,NULL);
INSERT INTO "trials" VALUES(220,35,7,16,1,'training','YSdgJks1VjL5CuLp0us8t0sG1qMGtyK8','rated','2026-11-26 12:21:00.000000','2026-11-26 12:21:00.000000');
INSERT INTO "trials" VALUES(221,35,7,17,2,'training','OWwajvjLpHYUiS2GzHpjXzg3wqMuzBog','rated','2026-11-26 12:21:10.000000','2026-11-26 12:21:00.000000');
INSERT INTO "trials" VALUES(222,35,7,18,3,'training','Vk0oJUxHgrHOoF_4VuJ0t9NPP5shK4h-','rated','2026-11-26 12:21:20.000000','2026-11-26 12:21:10.000000');
INSERT INTO "trials" VALUES(223,36,7,19,1,'anchor','S9L3Ic5fAjbZ4kSuLCHXAig-Auxpg10I','rated','2026-11-26 12:25:00.000000','2026-11-26 12:25:00.000000');
INSERT INTO "trials" VALUES(224,36,7,12,2,'stimulus','jHhjdt5n3WqDKL8zb7ZLdd06W7d_vqUY','rated','2026-11-26 12:25:10.000000','2026-11-26 12:25:00.000000');
INSERT INTO "trials" VALUES(225,36,7,5,3,'stimulus','7lnXZ-ERhptKo_TeQ4XvbGOIAmHO1hmt','rated','2026-11-26 12:25:20.000000','2026-11-26 12:25:10.000000');
INSERT INTO "trials" VALUES(226,36,7,13,4,'stimulus','kT87Xn-qsK5YVQe1Dizh5iQNFdIpuzUl','rated','2026-11-26 12:25:30.000000','2026-11-26 12:25:20.000000');
INSERT INTO "trials" VALUES(227,36,7,6,5,'stimulus','O9VDgr8wLGU18EL97rQmWel_ceUi9cg0','open','2026-11-26 12:25:40.000000','2026-11-26 12:25:30.000000');
INSERT INTO "trials" VALUES(228,36,7,4,6,'stimulus','PYMcj7LcKEFo7sMDxnN0l32zhmkvfIXN','open',NULL,NULL);
INSERT INTO "trials" VALUES(229,36,7,23,7,'anchor','EOtAozlcONwkRQj31PZDEiZget2a08J0','open',NULL,NULL);
INSERT INTO "trials" VALUES(230,36,7,7,8,'stimulus','fzr9KWSvL6AY2efOceaqAwI1GOtKKunN','open',NULL,NULL);
INSERT INTO "trials" VALUES(231,36,7,12,9,'duplicate','UAlZIeHYjaW2K6Z0tDBhmKZdqF5dBEsc','open',NULL,NULL);
CREATE TABLE visits (
	id INTEGER NOT NULL, 
	rater_id INTEGER NOT NULL, 
	token_sha256 VARCHAR NOT NULL, 
	began_at DATETIME NOT NULL, 
	ended_at DATETIME, 
	PRIMARY KEY (id), 
	FOREIGN KEY(rater_id) REFERENCES raters (id), 
	UNIQUE (token_sha256)
);
INSERT INTO "visits" VALUES(1,9,'0ac9dc02a1f3ccc354879b9cbc05f4b4e80b2e48e49bc62ff2cb6a8f636bf854','2026-11-17 14:29:00.000000',NULL);
INSERT INTO "visits" VALUES(2,1,'2f3a45e3b4fc181f3f5ca0e43b98b9b1bf66510cf08a0aa72e141d4f934be1df','2026-11-18 12:29:00.000000','2026-11-18 16:03:17.333375');
INSERT INTO "visits" VALUES(3,1,'2a2ab3a4868bbb72be6d491ec5bcab5c9fb7e29f30170ca1b687c41aeb13eb4f','2026-11-18 15:51:23.333375',NULL);
INSERT INTO "visits" VALUES(4,2,'a7a8a1c7ae8a7055a59bb8ed8d1ddbd483ce609a895cfe8103dc3072be81b0db','2026-11-18 18:29:00.000000',NULL);
INSERT INTO "visits" VALUES(5,3,'284f18726729ebac9e01051a672d703b1aa96701254ddd65fe492d3337a63b03','2026-11-19 12:29:00.000000',NULL);
INSERT INTO "visits" VALUES(6,4,'592b13b9043bfa3222117150bae1dadffdaee469f3e19c98c20361ae647cfeda','2026-11-19 17:29:00.000000',NULL);
INSERT INTO "visits" VALUES(7,5,'66a2ea2e089fc21e60acc59267b36669d37021f4f2b4a85146e55180719b328b','2026-11-20 12:29:00.000000',NULL);
INSERT INTO "visits" VALUES(8,10,'e813365a162658be3d2af698a2a496829baf193b51f0cf02119f00a16bf54047','2026-11-20 18:29:00.000000',NULL);
INSERT INTO "visits" VALUES(9,6,'a152a14e755281fc6c42a3828fc991e1d446f0bb845ed6af9e519c2d8d280362','2026-11-21 12:29:00.000000',NULL);
INSERT INTO "visits" VALUES(10,11,'85aa14543ba1ebae0cae0202c5b0c542dbbb7bb75226eac2e91e717bd5b152a6','2026-11-21 17:29:00.000000',NULL);
INSERT INTO "visits" VALUES(11,12,'223be907cee80ea4a79ac4f1a4bb2ac50e288845f5780141348b8b6492a0872d','2026-11-22 18:29:00.000000',NULL);
INSERT INTO "visits" VALUES(12,11,'fcabeb8a014d5d2801270caf81d225395871491332a8e62d6c6c910a2e35aa02','2026-11-22 19:29:00.000000',NULL);
INSERT INTO "visits" VALUES(13,10,'a579df8cd2589d3ad820e57de9ec4861ec5ee7429e226815ea16af9a88769b25','2026-11-22 20:29:00.000000',NULL);
INSERT INTO "visits" VALUES(14,3,'3aca86a6292565638685bec1bd689968dbc09771a8e9c46c69ad0f0feb2d964d','2026-11-22 21:29:00.000000',NULL);
INSERT INTO "visits" VALUES(15,2,'8e5e183007456986baba35aa98595e5593f995293ec95abfc208a0c6dc9044ad','2026-11-22 22:29:00.000000',NULL);
INSERT INTO "visits" VALUES(16,1,'7a40999d8788f26ffb9458ae88b11bb0c140872aab06f049135717d4cc2ed282','2026-11-22 23:29:00.000000',NULL);
INSERT INTO "visits" VALUES(17,6,'761893081ce352ea5dfaa0919b8c2835e0637f0f3161bde2db38cb0ff859a204','2026-11-23 00:29:00.000000',NULL);
INSERT INTO "visits" VALUES(18,13,'cf7cb391c0cc1d06137ef0b47aa1bf56cec7002492d1621bff355a6704a200b2','2026-11-23 15:29:00.000000',NULL);
INSERT INTO "visits" VALUES(19,14,'a995f7f7d747fe4853b35f76e37c18e0a9ab364d3f3400900407741a5a4193b7','2026-11-23 17:29:00.000000',NULL);
INSERT INTO "visits" VALUES(20,15,'b4e69669b93b48098d03ca0e130f57ac82dce73cf52558b9a6db0b25e835e0c8','2026-11-23 19:29:00.000000',NULL);
INSERT INTO "visits" VALUES(21,7,'13379163dd1e391b3233cad4b85d1d7d28dc8db4f1806f96488858348a5fa85a','2026-11-26 12:21:00.000000',NULL);
INSERT INTO "visits" VALUES(22,8,'0144ae5c7d918a34df65c466e3ef88823071ab9b5e290db9c894a17f8b9af076','2026-11-26 12:28:00.000000',NULL);
CREATE INDEX ix_answers_rater_id ON answers (rater_id);
CREATE INDEX batches_of_study ON batches (study_id, state);
CREATE UNIQUE INDEX one_open_batch ON batches (rater_id) WHERE state = 'open';
CREATE INDEX ix_consents_rater_id ON consents (rater_id);
CREATE INDEX ix_visits_rater_id ON visits (rater_id);
CREATE INDEX exclusions_of_rater ON exclusions (rater_id);
CREATE INDEX ix_exclusions_batch_id ON exclusions (batch_id);
CREATE UNIQUE INDEX one_stimulus_trial ON trials (rater_id, clip_id) WHERE role = 'stimulus' AND state != 'released';
CREATE INDEX trials_of_clip ON trials (clip_id);
CREATE TRIGGER ratings_refuse_update BEFORE UPDATE ON ratings BEGIN SELECT RAISE(ABORT, 'ratings are append-only'); END;
CREATE TRIGGER ratings_refuse_delete BEFORE DELETE ON ratings BEGIN SELECT RAISE(ABORT, 'ratings are append-only'); END;
CREATE TRIGGER problems_refuse_update BEFORE UPDATE ON problems BEGIN SELECT RAISE(ABORT, 'problems are append-only'); END;
CREATE TRIGGER problems_refuse_delete BEFORE DELETE ON problems BEGIN SELECT RAISE(ABORT, 'problems are append-only'); END;
CREATE TRIGGER exclusions_refuse_update BEFORE UPDATE ON exclusions BEGIN SELECT RAISE(ABORT, 'exclusions are append-only'); END;
CREATE TRIGGER exclusions_refuse_delete BEFORE DELETE ON exclusions BEGIN SELECT RAISE(ABORT, 'exclusions are append-only'); END;
COMMIT;
